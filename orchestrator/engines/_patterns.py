"""restic's exclude patterns, as far as we must know before a backup whether one would leave out a source itself.

The rules are those of restic's manual ("Excluding Files") and of Go's path/filepath.Match: a pattern matches a path or
any folder above it; one without a leading slash matches anywhere; `*` and `?` stay within a name, `**` stands for any
number of folders; `!` takes an earlier match back.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable


def is_excluded(path: str, patterns: Iterable[str]) -> str | None:
    """Return the pattern that leaves out this absolute path, or None. Raises ValueError for a malformed pattern."""
    hit: str | None = None
    for pattern in patterns:
        negated = pattern.startswith("!")
        if re.fullmatch(expression(pattern.removeprefix("!")), path, re.DOTALL):
            hit = None if negated else pattern
    return hit


def expression(pattern: str) -> str:
    """Translate a pattern into a regular expression for absolute paths. Raises ValueError when it is malformed."""
    if not pattern.strip("!"):
        raise ValueError("an empty pattern")
    clean = posixpath.normpath(pattern)
    parts = [part for part in clean.split("/") if part]
    words = "".join("(?:/[^/]+)*" if part == "**" else f"/{_part(part)}" for part in parts)
    anywhere = "" if clean.startswith("/") else "(?:/[^/]+)*"
    return f"{anywhere}{words}(?:/.*)?"


def _part(part: str) -> str:
    words: list[str] = []
    rest = part
    while rest:
        char, rest = rest[0], rest[1:]
        if char == "*":
            words.append("[^/]*")
        elif char == "?":
            words.append("[^/]")
        elif char == "[":
            word, rest = _class(rest)
            words.append(word)
        elif char == "\\":
            if not rest:
                raise ValueError(f"nothing follows the backslash in {part!r}")
            words.append(re.escape(rest[0]))
            rest = rest[1:]
        else:
            words.append(re.escape(char))
    return "".join(words)


def _class(rest: str) -> tuple[str, str]:
    """Translate what follows a `[`; Go negates with `^` only and wants at least one range."""
    negated = rest.startswith("^")
    rest = rest.removeprefix("^")
    ranges: list[str] = []
    while not (rest.startswith("]") and ranges):
        low, rest = _member(rest)
        high = low
        if rest.startswith("-"):
            high, rest = _member(rest[1:])
        if low > high:
            raise ValueError(f"the range {low}-{high} is empty")
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    return f"(?!/)[{'^' if negated else ''}{''.join(ranges)}]", rest[1:]


def _member(rest: str) -> tuple[str, str]:
    if rest.startswith("\\"):
        rest = rest[1:]
    elif rest[:1] in {"-", "]"}:
        raise ValueError(f"{rest[:1]!r} must be escaped within [ ]")
    if not rest:
        raise ValueError("a [ without its ]")
    return rest[0], rest[1:]
