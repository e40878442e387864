# shellcheck shell=bash
# Debian packages: installed by apt, or taken from another suite of the same mirror without touching the system.
# Needs common.sh.

# apt_install PACKAGE…: install what is not there yet (root only); the index is fetched only when a package is unknown.
# Nothing that the machine has is removed for it: it fails instead. Silent unless it fails.
apt_install() {
    local package wanted=() log status=0
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || wanted+=("$package")
    done
    [ ${#wanted[@]} -gt 0 ] || return 0
    log=$(mktemp)
    { apt-cache show "${wanted[@]}" >/dev/null 2>&1 || apt-get -qq update >"$log" 2>&1; } &&
        apt-get -qq -y --no-install-recommends --no-remove -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
            -o Dpkg::Options::=--force-confold install "${wanted[@]}" >"$log" 2>&1 || status=1
    [ $status -eq 0 ] || tail -n 20 "$log" >&2
    rm -f "$log"
    return $status
}

# can_apt_install: whether apt_install may work here
can_apt_install() { is_root && has apt-get && has dpkg; }

# own_suite: the codename of the suite that this machine follows
own_suite() {
    local codename
    codename=$(distribution UBUNTU_CODENAME)
    [ -n "$codename" ] || codename=$(distribution DEBIAN_CODENAME)
    [ -n "$codename" ] || codename=$(distribution VERSION_CODENAME)
    printf '%s' "$codename"
}

# mirrors: the addresses of the archives from which this machine takes the main part of its own suite, one a line,
# whatever the form of its sources (one-line or deb822; apt reads both). Needs neither root nor an index.
mirrors() {
    has apt-get || return 0
    apt-get update --print-uris 2>/dev/null | sed -n "s|^'\\(.*/\\)dists/$(own_suite)/main/binary-.*|\\1|p" | awk '!seen[$0]++'
}

# flavour: debian or ubuntu, for machines of either family
flavour() {
    case " $(distribution ID) $(distribution ID_LIKE) " in
    *" ubuntu "*) printf ubuntu ;;
    *" debian "*) printf debian ;;
    esac
}

# _suite_apt FOLDER COMMAND…: apt-get or apt-cache by FOLDER's configuration
_suite_apt() { "$2" -qq -c "$1/apt.conf" "${@:3}"; }

# _suite_configuration FOLDER: an apt that sees only FOLDER's sources, keeps its state there, and runs no hooks of the
# system's (given by -c it is read last, and so wins)
_suite_configuration() {
    cat <<CONFIGURATION
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::Etc::sourcelist "$1/sources.list";
Dir::Etc::sourceparts "-";
Dir::State "$1/state";
Dir::State::lists "$1/lists";
Dir::Cache "$1/cache";
Acquire::Languages "none";
${SUITE_CONFIGURATION:-}
CONFIGURATION
}

# suite_package SUITE PACKAGE OUT [MINIMUM]: unpack SUITE's PACKAGE into the folder OUT; fails (1) when the suite or
# the package is not to be had, or is older than MINIMUM. The mirror is this machine's own, the signature is checked
# with the distribution's keyring, and nothing of the system's apt configuration or state is changed. Works without
# root. SUITE_CONFIGURATION may hold more lines for apt.conf.
suite_package() {
    local folder address
    for address in $(mirrors); do
        folder=$(mktemp -d) && chmod 755 "$folder"
        if _suite_package "$folder" "$address" "$@"; then
            rm -rf "$folder"
            return 0
        fi
        rm -rf "$folder"
    done
    return 1
}

_suite_package() {
    local folder=$1 address=$2 suite=$3 package=$4 out=$5 minimum=${6:-} family keyring version
    family=$(flavour)
    [ -n "$family" ] || return 1
    mkdir -p "$folder"/{lists/partial,cache/archives/partial,state,package}
    # apt fetches as its own user when it may
    is_root && chown -R _apt "$folder" 2>/dev/null
    keyring=/usr/share/keyrings/$family-archive-keyring.gpg
    local option='' components=main
    [ ! -r "$keyring" ] || option="[signed-by=$keyring] "
    [ "$family" = debian ] || components='main universe'
    printf 'deb %s%s %s %s\n' "$option" "$address" "$suite" "$components" >"$folder/sources.list"
    _suite_configuration "$folder" >"$folder/apt.conf"
    _suite_apt "$folder" apt-get update >"$folder/log" 2>&1 || { tail -n 2 "$folder/log" >&2; return 1; }
    version=$(_suite_apt "$folder" apt-cache show --no-all-versions "$package" 2>/dev/null | sed -n 's/^Version: //p')
    [ -n "$version" ] || return 1
    [ -z "$minimum" ] || dpkg --compare-versions "$version" ge "$minimum" || return 1
    (cd "$folder/package" && _suite_apt "$folder" apt-get download "$package") >"$folder/log" 2>&1 ||
        { tail -n 2 "$folder/log" >&2; return 1; }
    mkdir -p "$out" && dpkg -x "$folder/package"/*.deb "$out"
}
