"""What a YAML scalar means: `${VAR}` filled in first, then the few plain types of YAML 1.2 that a policy needs."""

from __future__ import annotations

import re
from collections.abc import Mapping

Scalar = str | int | float | bool | None

_REFERENCE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}|(?P<odd>))"
)
_CONSTANTS: dict[str, Scalar] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# Stricter than the core schema: 010 (octal or ten?), 0x1f, 1e5 and .5 stay text. 18 digits fit 64 bits.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,17}")


class BadReference(ValueError):
    """A `$` that cannot be filled in; hint says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """Fill in `${VAR}` and `${VAR:-default}` (also used when VAR is empty); `$$` is a dollar sign.

    What is filled in is text and never read as YAML or filled in again. Raises BadReference.
    """
    if "$" not in text:
        return text

    def fill(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        if match["name"] is None:
            hint = "write $$ for a dollar sign, ${NAME} for a variable; a default holds no braces"
            raise BadReference("a `$` that begins no ${NAME}", hint)
        return _value(match["name"], match["default"], environ)

    return _REFERENCE.sub(fill, text)


def _value(name: str, default: str | None, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if default is not None and not value:
        return default
    if value is None:
        hint = f"set it, or give a default: ${{{name}:-value}}"
        raise BadReference(f"the environment variable {name} is not set", hint)
    return value


def plain(text: str) -> Scalar:
    """Return what an unquoted scalar means. `yes`, `on`, `22:30`, dates and version numbers such as 1.2.3 stay text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def unstorable(text: str) -> bool:
    """Say whether text cannot be a path, an argument or UTF-8: a NUL, or half of a surrogate pair."""
    return "\0" in text or any("\ud800" <= character <= "\udfff" for character in text)
