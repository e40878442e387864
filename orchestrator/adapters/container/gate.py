"""The gate inside a container: a shell that waits until our sentinel knows it, takes the secrets, becomes the tool.

It says one line on stdout, `TOKEN stream|direct|missing`, then reads a line for the release and one for each secret
from stdin, and executes the tool in its own place: same PID, same session. When we die before the release it reads the
end of file and ends; no tool ran.

A secret becomes a file without a name: made with mode 0600 in memory where that can be had, opened, its name removed,
and only then filled. The tool gets `/proc/self/fd/N`. So nothing is left to be removed, whenever and however we, the
tool or the container end.

direct: the tool writes its output into its own standard input's pipe, opened anew for writing (it reads /dev/null
instead), and we take it from there through /proc/PID/fd/0. The Engine copies every byte of the ordinary way three
times; this one costs nothing. See docs/design.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SHELL = "/bin/sh"
# Most secrets of one tool: shells need not know descriptors of more than one digit, 0 to 2 are taken, and 9 is the way
# out. It is open for writing before we hear "go": a pipe that nobody could write to any more would be at its end.
SECRETS = 6

# Exit codes of its own: 124 it could not do its part and has said why on stderr, 125 it was not released.
_HELLO = """t=$1; m=$2; shift 2
[ $m = stream ] || (: >/proc/self/fd/0) 2>/dev/null || m=stream
command -v "$1" >/dev/null 2>&1 || m=missing
echo "$t $m"
IFS= read -r l || exit 125
[ $m != missing ] || exit 127
"""
_MAKER = """case $(command -V printf) in
*builtin*) ;;
*) echo 'resguardo: the shell has no printf of its own' >&2; exit 124;;
esac
u=$(umask); umask 077; set -C
s() {
for d in /dev/shm /run /tmp /var/tmp .; do f=$d/.resguardo-$t; (: >"$f") 2>/dev/null && return; done
echo 'resguardo: no directory for a secret can be written' >&2; exit 124
}
"""
_FILLED = """s; exec {fd}<>"$f"; rm -f "$f" || exit 124; IFS= read -r l || exit 125; printf %b "$l" >&{fd}; l=
"""
_RELEASED = """umask "$u"; set +C
"""
_END = {
    "direct": """if [ $m = direct ]; then exec 9>/proc/self/fd/0; echo "$t go"; exec "$@" >&9 9>&- </dev/null; fi
exec "$@" </dev/null
""",
    "none": """exec "$@" </dev/null
""",
    "stdin": """exec "$@"
""",
}


def command(argv: Sequence[str], token: str, *, secrets: int, direct: bool, stdin: bool) -> list[str]:
    """Return what to execute so that argv runs behind the gate. secrets: how many lines it reads."""
    way = "stdin" if stdin else "direct" if direct else "none"
    parts = [_HELLO]
    if secrets:
        parts += [_MAKER, *(_FILLED.format(fd=3 + number) for number in range(secrets)), _RELEASED]
    return [SHELL, "-c", "".join([*parts, _END[way]]), "sh", token, "direct" if way == "direct" else "stream", *argv]


def lines(secrets: Mapping[str, bytes]) -> bytes:
    """Return what opens the gate: the release and the secrets, as the octal escapes of printf's %b."""
    encoded = ("".join(f"\\0{byte:03o}" for byte in content).encode() for content in secrets.values())
    return b"".join(line + b"\n" for line in (b"go", *encoded))


def paths(secrets: Mapping[str, bytes]) -> dict[str, str]:
    """Return where the tool finds each secret."""
    return {name: f"/proc/self/fd/{3 + number}" for number, name in enumerate(secrets)}
