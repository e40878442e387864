"""Write names and texts into SQL."""

from __future__ import annotations


def ident(*names: str) -> str:
    """Return a (qualified) identifier, quoted."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """Return a text as a string constant that means the same whatever standard_conforming_strings is."""
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return f" E{quoted}" if "\\" in text else quoted
