# shellcheck shell=bash disable=SC2034 # its variables are for those who source it
# What every script shares: where the project is, how to speak, how to compare versions.
# Sourced, never run. Exit codes are those of `resguardo`: 2 usage, 4 something must be installed or mended first.

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TOOLS=$PROJECT/.tools
export DEBIAN_FRONTEND=noninteractive

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# die CODE MESSAGE [HINT]
die() {
    warn "$2"
    [ -z "${3:-}" ] || printf 'HINT: %s\n' "$3" >&2
    exit "$1"
}

is_root() { [ "$(id -u)" -eq 0 ]; }
has() { command -v "$1" >/dev/null 2>&1; }

# version_at_least HAVE WANTED: compares dotted numbers
version_at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# distribution KEY: one value of os-release (ID, ID_LIKE, VERSION_CODENAME …), empty when it has none
distribution() {
    # shellcheck source=/dev/null
    (. /etc/os-release 2>/dev/null && eval "printf '%s' \"\${$1:-}\"")
}
