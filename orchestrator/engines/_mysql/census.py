"""What a dump holds, counted while its bytes pass: rows of each table and objects of each kind.

These counts are exact by construction: they say what is in the dump, whose rows the server gave from one snapshot.
"""

from __future__ import annotations

import re
from collections import Counter

from orchestrator.engines._mysql.quoting import EITHER, unquoted
from orchestrator.engines._mysql.script import Piece, Script

_DEFINER = rb"(?:/\*!\d+ DEFINER=" + EITHER + rb"@" + EITHER + rb"\*/ )?"
TRIGGER = re.compile(rb"\s*/\*!\d+ CREATE\*/ " + _DEFINER + rb"/\*!\d+ (?i:(?:OR REPLACE )?TRIGGER)\b")
EVENT = re.compile(rb"\s*/\*!\d+ CREATE\*/ " + _DEFINER + rb"/\*!\d+ EVENT ")
_ROUTINE = re.compile(
    rb"\s*CREATE (?:DEFINER=" + EITHER + rb"@" + EITHER + rb" )?(?:AGGREGATE )?"
    rb"(PROCEDURE|FUNCTION|PACKAGE BODY|PACKAGE) "
)
_VIEW = re.compile(rb"\s*(?:--[^\n]*\n\s*)*/\*!50001 CREATE ALGORITHM=")
_CREATE = re.compile(rb"(?:\s++|--[^\n]*+\n)*+CREATE (TABLE|SEQUENCE) ")
_KINDS = {
    b"TABLE": "tables",
    b"SEQUENCE": "sequences",
    b"PROCEDURE": "procedures",
    b"FUNCTION": "functions",
    b"PACKAGE": "packages",
    b"PACKAGE BODY": "package bodies",
}
# What the server writes itself; a trigger's name stands there as it was typed.
_NAMED = {
    "sequences": re.compile(rb"CREATE SEQUENCE (" + EITHER + rb")"),
    "views": re.compile(rb"/\*!50001 VIEW (" + EITHER + rb") AS "),
    "events": re.compile(rb"/\*!\d+ EVENT (" + EITHER + rb") "),
    "procedures": re.compile(rb" PROCEDURE (" + EITHER + rb")\("),
    "functions": re.compile(rb" FUNCTION (" + EITHER + rb")\("),
}


class Census:
    """Counts what passes."""

    def __init__(self) -> None:
        self._script = Script()
        self.rows: dict[str, int] = {}
        self.objects: Counter[str] = Counter()
        self.names: dict[str, set[str]] = {}  # of those objects whose name is seen

    def feed(self, block: bytes) -> None:
        """Take a block. Raises NotUnderstoodError."""
        for piece in self._script.feed(block):
            self._see(piece)

    def end(self) -> None:
        """See that the dump ended where it may. Raises NotUnderstoodError."""
        self._script.end()

    def counts(self) -> dict[str, int]:
        """Return table → rows, and `#kind` → objects."""
        return self.rows | {f"#{kind}": count for kind, count in sorted(self.objects.items())}

    def _see(self, piece: Piece) -> None:
        if piece.kind == "rows":
            self.rows[piece.table] = self.rows.get(piece.table, 0) + piece.rows
        elif kind := kind_of(piece):
            self.objects[kind] += 1
            if (pattern := _NAMED.get(kind)) and (match := pattern.search(piece.raw)):
                self.names.setdefault(kind, set()).add(unquoted(match[1]))


def kind_of(piece: Piece) -> str:
    """Return what kind of object a piece creates, "" for none."""
    if piece.kind == "code":
        if TRIGGER.match(piece.raw):
            return "triggers"
        if EVENT.match(piece.raw):
            return "events"
        match = _ROUTINE.match(piece.raw)
        return _KINDS[match[1]] if match else ""
    if match := _CREATE.match(piece.raw):
        return _KINDS[match[1]]
    return "views" if _VIEW.match(piece.raw) else ""
