"""Write names into SQL, and find them in it."""

from __future__ import annotations

import re

IDENT = rb"`(?:[^`]|``)*+`"
EITHER = rb"(?:" + IDENT + rb'|"(?:[^"]|"")*+")'  # of something made under sql_mode ANSI_QUOTES
_PLAIN = re.compile(r"[A-Za-z_$][\w$]*")


def ident(*names: str) -> str:
    """Return a (qualified) identifier, quoted."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


def literal(text: str) -> str:
    """Return a text as a string constant, for sessions without NO_BACKSLASH_ESCAPES."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def unquoted(name: bytes) -> str:
    """Return a quoted identifier's own text."""
    quote = name[:1]
    return name[1:-1].replace(quote * 2, quote).decode("utf-8", "surrogateescape")


def key(table: str) -> str:
    """Return a table's name as a key of counts: quoted where SQL needs it, so that it never looks like `#kind`."""
    return table if _PLAIN.fullmatch(table) else ident(table)
