"""Figures and names as people read them, safe for a terminal."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

_STEPS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """Return bytes in binary units: `0 B`, `1.5 KiB`, `12.0 GiB`."""
    value, unit = float(count), 0
    while abs(value) >= 1023.95 and unit < len(_STEPS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.1f} {_STEPS[unit]}"


def duration(seconds: float) -> str:
    """Return how long something took: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def age(then: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in one unit: `40 s`, `7 min`, `5 h`, `3 d`; `never`, `in the future`."""
    if then is None:
        return "never"
    seconds = (now - then).total_seconds()
    if seconds < 0:
        return "in the future"
    for step, unit in ((86400 * 2, "d"), (3600, "h"), (60, "min")):
        if seconds >= step:
            return f"{int(seconds // (86400 if unit == 'd' else step))} {unit}"
    return f"{int(seconds)} s"


def when(instant: datetime | None) -> str:
    """Return an instant in UTC: `2026-06-15 02:00:07Z`."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" if instant else "-"


def took(started: datetime, ended: datetime) -> str:
    """Return the time between two instants."""
    return duration(max(timedelta(), ended - started).total_seconds())


def count(number: int, noun: str) -> str:
    """Return `1 snapshot`, `2 snapshots`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def safe(text: str) -> str:
    r"""Escape what could steer a terminal or fake a line: controls, line ends, direction marks, lone surrogates.

    A newline becomes `\n`, an escape `\x1b`; a backslash stays, so this is for reading, not for parsing.
    """
    return "".join(_shown(letter) for letter in text)


def lines(text: str) -> str:
    """Like `safe`, but line ends stay: for our own texts of several lines."""
    return "\n".join(safe(line) for line in text.split("\n"))


def flat(text: str) -> str:
    """Like `safe`, but on one line: line ends become spaces."""
    return safe(" ".join(part for line in text.splitlines() if (part := line.strip())))


def _shown(letter: str) -> str:
    # Cc controls, Cf format (bidirectional marks, zero width), Cs surrogates, Zl and Zp line separators.
    if letter.isprintable() or letter == " ":
        return letter
    if unicodedata.category(letter) == "Zs":
        return " "
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def width(text: str) -> int:
    """Return how many columns a text takes on a terminal: wide letters take two, combining ones none."""
    return sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def cut(text: str, columns: int) -> str:
    """Shorten a text to so many columns; what was cut is shown as `…`."""
    if width(text) <= columns:
        return text
    kept, used = "", 0
    for letter in text:
        if used + _columns(letter) > columns - 1:
            break
        kept, used = kept + letter, used + _columns(letter)
    return kept + "…"
