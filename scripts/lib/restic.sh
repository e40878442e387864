# shellcheck shell=bash disable=SC2034
# restic: one that is there, or one taken from the distribution. Needs common.sh and packages.sh.

RESTIC_MINIMUM=0.18

# restic_version PROGRAM: its version, empty when it does not run
restic_version() {
    { "$1" version 2>/dev/null || true; } | sed -n 's/^restic \([0-9][0-9.]*\).*/\1/p'
}

restic_serves() {
    local version
    version=$(restic_version "$1")
    [ -n "$version" ] && version_at_least "$version" "$RESTIC_MINIMUM"
}

# newer_suites: where a newer restic may be, oldest first: its own suite's dependencies are the nearest
newer_suites() {
    has apt-get || return 0
    case $(flavour) in
    debian) printf '%s\n' trixie forky sid ;;
    ubuntu) printf '%s\n' questing resolute devel ;;
    esac
}

# link_tool FILE NAME: offer FILE as .tools/bin/NAME
link_tool() {
    mkdir -p "$TOOLS/bin"
    ln -sfn "$1" "$TOOLS/bin/$2"
}

# restic_from_suite SUITE NAME: unpack it privately and link it, if it runs here and is new enough
restic_from_suite() {
    local out=$TOOLS/packages/restic-$1
    suite_package "$1" restic "$out" "$RESTIC_MINIMUM" || return 1
    restic_serves "$out/usr/bin/restic" || { rm -rf "$out"; return 1; }
    link_tool "$out/usr/bin/restic" "$2"
}

# distribution_has_restic: whether this machine's own suite has one that is new enough (root: its index may be fetched)
distribution_has_restic() {
    local version
    has apt-cache || return 1
    apt-cache show restic >/dev/null 2>&1 || { is_root && apt-get -qq update; } || return 1
    version=$(apt-cache show --no-all-versions restic 2>/dev/null | sed -n 's/^Version: //p')
    [ -n "$version" ] && dpkg --compare-versions "$version" ge "$RESTIC_MINIMUM"
}

# ensure_restic: PATH then has a restic that is new enough, and RESTIC names it
ensure_restic() {
    local suite
    # one that the machine has is preferred; an old one there is overshadowed
    restic_serves restic || PATH=$TOOLS/bin:$PATH
    if restic_serves restic; then
        RESTIC=$(command -v restic)
        return 0
    fi
    if can_apt_install && distribution_has_restic && apt_install restic && restic_serves /usr/bin/restic; then
        RESTIC=/usr/bin/restic
        return 0
    fi
    # without root its own suite's package was not tried yet
    for suite in $(can_apt_install || own_suite) $(newer_suites); do
        say "looking for restic in the distribution's suite $suite"
        if restic_from_suite "$suite" restic; then
            RESTIC=$TOOLS/bin/restic
            return 0
        fi
    done
    die 4 "no restic $RESTIC_MINIMUM or newer was found" \
        "install it from your distribution or from restic's own releases (restic.net), put it on PATH, and start this again"
}
