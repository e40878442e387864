r"""Cut a dump into its pieces while it passes: statements, bodies of routines, and the rows of tables.

What the cutting stands on, for mariadb-dump and mysqldump with `--skip-extended-insert --skip-add-locks`:
- rows of a table stand between `ALTER TABLE … DISABLE KEYS` and `… ENABLE KEYS`, one INSERT each, all with the same
  beginning. No value holds a line break (they are written as \n): a line that begins as a row does is a row.
- triggers, events and routines stand between `DELIMITER ;;` and `DELIMITER ;`, each ended by `;;` at a line's end in no
  string and no comment; what a backslash is depends on the sql_mode that is set before each.
- everything else is SQL that the server or the tool wrote itself, with backslash escapes: it ends with `;`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from orchestrator.engines._mysql.quoting import IDENT, key, unquoted
from orchestrator.model.errors import ResguardoError

Kind = Literal["statement", "code", "rows", "rest"]
LONGEST = 256 << 20  # bytes of one statement that is no row

_STATEMENT = re.compile(
    rb"""(?: [^'"`;-]++ | '(?:[^'\\]++|\\.)*+' | "(?:[^"\\]++|\\.)*+" | `[^`]*+` | --[^\n]*+\n | -(?!-) )*+ ;""",
    re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(rb"(?:\s++|--[^\n]*+\n)*+")
_CODE = re.compile(rb"(?:\s++|--[^\n]*+\n)*+DELIMITER ;;\n")
_CODE_ENDS = re.compile(rb"\s*+DELIMITER ;\n")
_SQL_MODE = re.compile(rb"(?:\s++|--[^\n]*+\n)*+/\*!\d+ SET sql_mode\s*+= '([\w,]*+)' \*/ ;")


def _body(*, plain: bool, ansi: bool) -> re.Pattern[bytes]:
    """Return what a body is up to its end. plain: backslash is a letter · ansi: "…" is a name."""
    string, quoted = (rb"(?:[^%b]++)*+" if raw else rb"(?:[^%b\\]++|\\.)*+" for raw in (plain, plain or ansi))
    return re.compile(
        rb"""(?: [^'"`;\#/-]++ | '%b' | "%b" | `[^`]*+` | \#[^\n]*+\n | --(?=\s)[^\n]*+\n | /\*(?!M?!).*?\*/ | -
        | /(?!\*(?!M?!))
        | ;(?!;\n) )*+ ;;\n"""
        % (string % b"'", quoted % b'"'),
        re.VERBOSE | re.DOTALL,
    )


_BODY = {(plain, ansi): _body(plain=plain, ansi=ansi) for plain in (False, True) for ansi in (False, True)}
_BEGIN = re.compile(rb"/\*!40000 ALTER TABLE (" + IDENT + rb") DISABLE KEYS \*/;")
_AUTOCOMMIT = b"\nset autocommit=0;"  # mysqldump says it there, mariadb-dump before
_WORDS = rb"(?:[^`()]|" + IDENT + rb")*+"
_FIRST = re.compile(rb"\n(?:INSERT|REPLACE) ++(?:IGNORE )?+INTO " + IDENT + rb" (?:\(" + _WORDS + rb"\) )?+VALUES \(")
_LONGEST_FIRST = 1 << 20  # bytes of a row's beginning: 4096 columns of 64 characters


@dataclass(frozen=True)
class Piece:
    """A part of a dump; all of them in a row are the dump, byte for byte.

    table: whose rows these are (a table's rows come in several pieces, an empty one gives one without bytes) · first:
    with what each of these rows begins, its line break included · rows: how many begin in this piece.
    """

    kind: Kind
    raw: bytes
    table: str = ""
    first: bytes = b""
    rows: int = 0


class NotUnderstoodError(ResguardoError):
    """A dump is not written as this module knows it."""


class Script:
    """Cuts a dump that comes in blocks of any size."""

    def __init__(self) -> None:
        self._buffer = b""
        self._mode: Literal["sql", "code", "rows"] = "sql"
        self._sql_mode = ""
        self._table = b""
        self._first = b""
        self._before = b""  # the end of what was emitted of a table's rows: a row's beginning may be cut

    def feed(self, block: bytes) -> Iterator[Piece]:
        """Take a block; yield what is complete. Raises NotUnderstoodError."""
        self._buffer += block
        step = {"sql": self._sql, "code": self._code, "rows": self._rows}
        while (piece := step[self._mode]()) is not None:
            yield piece
        if self._mode != "rows" and len(self._buffer) > LONGEST:
            raise NotUnderstoodError(f"a statement of the dump is longer than {LONGEST} bytes")

    def end(self) -> Piece:
        """Return what is left: comments, when the dump is whole. Raises NotUnderstoodError."""
        rest, self._buffer = self._buffer, b""
        whole = _BLANK.match(rest)
        if self._mode != "sql" or whole is None or whole.end() != len(rest):
            raise NotUnderstoodError("the dump ends in the middle of a statement")
        return Piece("rest", rest)

    def _take(self, size: int) -> bytes:
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _sql(self) -> Piece | None:
        if match := _CODE.match(self._buffer):
            self._mode = "code"
            return Piece("statement", self._take(match.end()))
        blank = _BLANK.match(self._buffer)
        start = blank.end() if blank else 0
        if len(self._buffer) - start < len(b"DELIMITER ;;\n"):
            return None  # it may become a DELIMITER, or a comment
        match = _STATEMENT.match(self._buffer, start)
        if match is None:
            return None
        raw = self._take(match.end())
        if begin := _BEGIN.fullmatch(raw, start):
            self._mode, self._table, self._first, self._before = "rows", begin[1], b"", b""
        return self._moded(Piece("statement", raw))

    def _code(self) -> Piece | None:
        if match := _CODE_ENDS.match(self._buffer):
            self._mode = "sql"
            return Piece("statement", self._take(match.end()))
        match = _BODY["NO_BACKSLASH_ESCAPES" in self._sql_mode, "ANSI_QUOTES" in self._sql_mode].match(self._buffer)
        return None if match is None else self._moded(Piece("code", self._take(match.end())))

    def _moded(self, piece: Piece) -> Piece:
        if mode := _SQL_MODE.match(piece.raw):
            self._sql_mode = mode[1].decode()
        return piece

    def _rows(self) -> Piece | None:
        mark = b"\n/*!40000 ALTER TABLE " + self._table + b" ENABLE KEYS */;"
        name = key(unquoted(self._table))
        if not self._first:
            if self._buffer.startswith(_AUTOCOMMIT):
                return Piece("statement", self._take(len(_AUTOCOMMIT)))
            if self._buffer.startswith(mark):
                self._mode = "sql"
                return Piece("rows", b"", name)
            if (first := _FIRST.match(self._buffer)) is None:
                if len(self._buffer) > max(_LONGEST_FIRST, len(mark)):
                    raise NotUnderstoodError(f"the rows of table {name!r} do not begin as rows do")
                return None
            self._first = first[0]
        found = self._buffer.find(mark)
        if found >= 0:
            self._mode = "sql"
        raw = self._take(found if found >= 0 else max(0, len(self._buffer) - len(mark)))
        if not raw and found < 0:
            return None
        seen = self._before + raw
        self._before = seen[-(len(self._first) - 1) :]
        return Piece("rows", raw, name, self._first, seen.count(self._first))
