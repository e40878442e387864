# shellcheck shell=bash
# A fresh Debian root: built, furnished with a clone, and entered. Needs common.sh and packages.sh.

CLONE=/srv/resguardo

# build_root SUITE ROOT REBUILD: unpack a minimal system; the archive is kept for a week
build_root() {
    local suite=$1 root=$2 rebuild=$3 address archive
    archive=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/resguardo/$suite.tar
    if [ -n "$rebuild" ] || [ -z "$(find "$archive" -mtime -7 2>/dev/null)" ]; then
        address=$(mirrors | head -n 1)
        if [ "$(flavour)" != debian ] || [ -z "$address" ]; then
            warn "no Debian mirror in this machine's apt configuration"
            return 4
        fi
        mkdir -p "${archive%/*}"
        mmdebstrap --quiet --mode=root --variant=apt --format=tar "$suite" "$archive.new" \
            "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $address $suite main" || return
        mv "$archive.new" "$archive"
    fi
    chmod 755 "$root"
    tar -C "$root" --numeric-owner -xf "$archive"
}

# settings: NAME=VALUE lines that the new machine gets of this one: pip's and the proxies', with our certificates
settings() {
    local name value
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY \
        PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_DEFAULT_TIMEOUT PIP_RETRIES CI; do
        value=${!name:-}
        if [ -z "$value" ] && has python3; then
            case $name in
            PIP_*_URL | PIP_TRUSTED_HOST)
                value=$(tr '[:upper:]_' '[:lower:]-' <<<"${name#PIP_}")
                value=$(python3 -m pip --disable-pip-version-check config get "global.$value" 2>/dev/null || true)
                ;;
            esac
        fi
        [ -z "$value" ] || printf '%s=%s\n' "$name" "$value"
    done
    [ ! -e "$1/etc/fresh-machine.crt" ] ||
        printf '%s=/etc/fresh-machine.crt\n' PIP_CERT SSL_CERT_FILE REQUESTS_CA_BUNDLE
}

# furnish ROOT: what a machine on this network has: name resolution, certificates, apt's proxy
furnish() {
    local root=$1 configuration=$1/etc/apt/apt.conf.d/90fresh-machine
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    : >"$configuration"
    if [ -r /etc/ssl/certs/ca-certificates.crt ]; then
        cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/fresh-machine.crt"
        printf 'Acquire::https::CAInfo "/etc/fresh-machine.crt";\n' >"$configuration"
    fi
    apt-config dump | grep -E '^Acquire::(https?::Proxy|Check-Valid-Until|Check-Date) ' >>"$configuration" || true
}

# settle_in ROOT ACCOUNT: furnished, with a clone of HEAD
settle_in() {
    local root=$1 account=$2
    furnish "$root"
    git clone --quiet --no-hardlinks "$PROJECT" "$root$CLONE" || return
    git -C "$root$CLONE" checkout --quiet --detach "$(git -C "$PROJECT" rev-parse HEAD)" || return
    if [ "$account" != root ]; then
        inside "$root" root bash -c "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
            --no-install-recommends install python3 python3-venv passwd >/dev/null 2>&1 && useradd -m $account &&
            chown -R $account: $CLONE"
    fi
}

# inside ROOT ACCOUNT COMMAND…: run it there, in the clone, with namespaces of its own for mounts and processes: both
# end with the command, and the command with us
inside() {
    local root=$1 account=$2 environment=() home=/root
    shift 2
    mapfile -t environment < <(settings "$root")
    [ "$account" = root ] || home=/home/$account
    environment+=("HOME=$home" "USER=$account" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        LANG=C.UTF-8 "TERM=${TERM:-dumb}")
    unshare --mount --uts --ipc --pid --fork --kill-child=KILL --propagation private -- \
        bash "$PROJECT/scripts/lib/enter-root" "$root" "$account" "$CLONE" "${environment[@]}" -- "$@" </dev/null &
    # waited for in the background: a signal is then answered at once (by the caller, who knows `machine`)
    machine=$!
    local status=0
    wait "$machine" || status=$?
    machine=''
    return $status
}
