# shellcheck shell=bash
# The engines' suites over several versions of each server: `scripts/test --matrix`. Needs common.sh, packages.sh,
# python.sh, fresh.sh, and `sideways`: how pytest runs tests side by side.

# system, Debian suite that has the version (- : this machine, whatever it is), its programs for the version, the
# packages there, the tests. A machine that follows the suite is used itself.
MATRIX='PostgreSQL bookworm postgres postgresql,postgresql-contrib test_postgresql*
PostgreSQL trixie postgres postgresql,postgresql-contrib test_postgresql*
PostgreSQL sid postgres postgresql-18,postgresql-contrib test_postgresql*
MariaDB bookworm mariadbd mariadb-server test_mariadb*
MariaDB trixie mariadbd mariadb-server test_mariadb*
MySQL sid mysqld mysql-server-core,mysql-client-core test_mysql*
Redis bookworm redis-server redis-server test_redis*
Redis trixie redis-server redis-server test_redis*
Valkey sid valkey-server valkey-server test_redis*
SecantusDB - secantusd - test_mongodb*'

ROOTS=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/resguardo/roots
MATRIX_KEPT=30 # days that a root is used before it is built anew

# matrix_packages SUITE: what its root has, comma separated
matrix_packages() {
    printf 'python3,python3-venv,sqlite3,e2fsprogs,util-linux,mount,procps'
    awk -v suite="$1" '$2 == suite { printf ",%s", $4 }' <<<"$MATRIX"
}

# matrix_root SUITE: build its root where it is missing, old, or made for other packages
matrix_root() {
    local suite=$1 root=$ROOTS/$1 packages address
    packages=$(matrix_packages "$suite")
    if [ -n "$(find "$root.packages" -mtime -$MATRIX_KEPT 2>/dev/null)" ] && [ "$(cat "$root.packages")" = "$packages" ]; then
        return 0
    fi
    address=$(mirrors | head -n 1)
    if [ "$(flavour)" != debian ] || [ -z "$address" ]; then
        warn "no Debian mirror in this machine's apt configuration"
        return 4
    fi
    say "building a root of $suite"
    rm -rf --one-file-system "$root" "$root.new" "$root.packages"
    # an unstable suite's Release file may be past its date on a mirror; its signature is checked all the same
    mmdebstrap --quiet --mode=root --variant=apt --aptopt='APT::Install-Recommends "false"' \
        --aptopt='Acquire::Check-Valid-Until "false"' --include="$packages" "$suite" "$root.new" \
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $address $suite main" || return
    mv "$root.new" "$root"
    printf '%s' "$packages" >"$root.packages"
}

# matrix_settle SUITE: this working tree, as it is, and a Python environment of the root's own
matrix_settle() {
    local root=$ROOTS/$1
    furnish "$root"
    # every machine has one, and dumps are told by it
    [ -s "$root/etc/machine-id" ] || tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
    mkdir -p "$root$CLONE"
    find "$root$CLONE" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf --one-file-system {} +
    git ls-files -z --cached --others --exclude-standard |
        { while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done; } |
        tar -c --null -T - | tar -x -C "$root$CLONE" --no-same-owner
    # shellcheck disable=SC2016 # for the shell in there
    inside "$root" root bash -c '. scripts/lib/common.sh && . scripts/lib/packages.sh &&
        . scripts/lib/python.sh && ensure_venv test'
}

# matrix_tests PATTERN: its files. Tests inside containers stay out: where the tools run is no matter of the version.
matrix_tests() { (cd "$PROJECT" && compgen -G "tests/engines/$1.py") | grep -v container; }

# matrix_version PROGRAM: what it says of itself, as a command for a shell anywhere
matrix_version() {
    # shellcheck disable=SC2016 # for the shell that runs it
    case $1 in
    postgres) printf '%s' '$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)/postgres --version' ;;
    secantusd) printf '.tools/mongo/bin/pip show SecantusDB' ;;
    *) printf '%s --version' "$1" ;;
    esac
}

# matrix_row SYSTEM SUITE PROGRAM PATTERN: run one row's tests; its line comes from their report
matrix_row() {
    local system=$1 suite=$2 program=$3 pattern=$4 root=$ROOTS/$2 tests=() run=() status=0 version where=$2
    mapfile -t tests < <(matrix_tests "$pattern")
    [ ${#tests[@]} -gt 0 ] || { warn "$system: no tests $pattern"; return 1; }
    if matrix_here "$suite"; then
        run=(env PATH="$PATH:/usr/sbin:/sbin") root='' where=$(own_suite)
    else
        run=(inside "$root" root)
    fi
    version=$("${run[@]}" bash -c "$(matrix_version "$program")" 2>/dev/null | grep -oE '[0-9]+\.[0-9.]+[0-9a-z]*' | head -n 1)
    # with CI=true a row whose server is not there fails, and does not pass by skipping
    # shellcheck disable=SC2154 # the caller's
    "${run[@]}" env CI=true .venv/bin/python -m pytest -q -p tests.skips -p no:cacheprovider \
        -m 'not slow' -k 'not container' "${sideways[@]}" \
        --junitxml="/var/tmp/resguardo-matrix.xml" "${tests[@]}" || status=$?
    "$VENV/bin/python" "$PROJECT/scripts/lib/matrix_table.py" line "$root/var/tmp/resguardo-matrix.xml" \
        "$system" "$version" "$where" >>"$MATRIX_LINES"
    rm -f "$root/var/tmp/resguardo-matrix.xml"
    return $status
}

# matrix_here SUITE: whether its row needs no root
matrix_here() { [ "$1" = - ] || [ "$1" = "$(own_suite)" ]; }

# run_matrix [--write] [SYSTEM…]: all rows, or those of some systems; 1 when a test failed anywhere
run_matrix() {
    local system suite program packages pattern write='' only=() status=0 settled=' '
    while [ $# -gt 0 ]; do
        case $1 in
        --write) write=yes ;;
        *) only+=("${1,,}") ;;
        esac
        shift
    done
    is_root || die 4 "the matrix builds roots of other suites, as root" "sudo scripts/test --matrix"
    has mmdebstrap || { can_apt_install && apt_install mmdebstrap; } ||
        die 4 "mmdebstrap is missing" "apt-get install mmdebstrap"
    mkdir -p "$ROOTS"
    exec 8>"$ROOTS/lock"
    flock -n 8 || { say "another run uses the roots: waiting for it" && flock 8; }
    MATRIX_LINES=$(mktemp)
    # shellcheck disable=SC2064,SC2154 # its value of now; fresh.sh sets machine
    trap "rm -f $MATRIX_LINES; "'[ -z "${machine:-}" ] || kill -KILL "$machine" 2>/dev/null' EXIT
    while read -r -u 9 system suite program packages pattern; do
        [ ${#only[@]} -eq 0 ] || [[ " ${only[*]} " == *" ${system,,} "* ]] || continue
        step "$system of $suite"
        if ! matrix_here "$suite" && [[ $settled != *" $suite "* ]]; then
            if ! matrix_root "$suite" || ! matrix_settle "$suite"; then
                status=1 && warn "$suite: no root"
                continue
            fi
            settled="$settled$suite "
        fi
        matrix_row "$system" "$suite" "$program" "$pattern" || status=1
    done 9<<<"$MATRIX"
    step "the matrix"
    "$VENV/bin/python" "$PROJECT/scripts/lib/matrix_table.py" table ${write:+--write} "$MATRIX_LINES" || status=1
    return $status
}
