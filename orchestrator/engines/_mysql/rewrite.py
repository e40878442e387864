"""What of a dump must be written otherwise when it is loaded under a new name; everything else passes as it is.

- rows: joined into larger statements, which load faster than one statement a row.
- events: come back disabled. A copy must never begin to work by itself; which were enabled is told.
- the server writes functions in views, and sequences in defaults, with the database's name: the copy uses its own.
- triggers are stored as they were typed, perhaps with the database's name: that is left out.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from orchestrator.engines._mysql.census import EVENT, TRIGGER
from orchestrator.engines._mysql.quoting import EITHER, IDENT, ident, unquoted
from orchestrator.engines._mysql.script import NotUnderstoodError, Piece, Script

_SPACE = rb"(?:\s++|/\*.*?\*/|--[ \t][^\n]*\n|\#[^\n]*\n)++"
_NAME = rb"""(?:`(?:[^`]|``)*+`|"(?:[^"]|"")*+"|[0-9A-Za-z$_\x80-\xff]++)"""
_TRIGGER_HEAD = re.compile(
    rb"(?P<begin>(?i:(?:OR"
    + _SPACE
    + rb"REPLACE"
    + _SPACE
    + rb")?TRIGGER"
    + _SPACE
    + rb"(?:IF"
    + _SPACE
    + rb"NOT"
    + _SPACE
    + rb"EXISTS"
    + _SPACE
    + rb")?))"
    + rb"(?:(?P<own>"
    + _NAME
    + rb")\s*\.\s*)?(?P<name>"
    + _NAME
    + rb")(?P<when>"
    + _SPACE
    + rb"(?i:BEFORE|AFTER)"
    + _SPACE
    + rb"(?i:INSERT|UPDATE|DELETE)"
    + _SPACE
    + rb"(?i:ON)"
    + _SPACE
    + rb")(?:(?P<of>"
    + _NAME
    + rb")\s*\.\s*)?(?P<table>"
    + _NAME
    + rb")(?=\s|/\*|--|\#)",
    re.DOTALL,
)
_EVENT_HEAD = re.compile(
    rb"(?P<begin>EVENT (?P<name>"
    + EITHER
    + rb") ON SCHEDULE (?:EVERY (?:'[^']*'|\S+) [A-Z_]+(?: STARTS '[^']*')?(?: ENDS '(?P<ends>[^']*)')?"
    + rb"|AT '(?P<at>[^']*)') ON COMPLETION )(?P<keep>NOT PRESERVE|PRESERVE) "
    + rb"(?P<state>ENABLE|DISABLE ON SLAVE|DISABLE ON REPLICA|DISABLE)\b"
)
_VERSION = re.compile(rb"/\*!\d+ (?=(?i:EVENT|TRIGGER|OR)\b)")


class Rewriter:
    """Takes blocks of a dump and returns what is to be loaded instead; b"" ends it.

    old, new: the database's names · enabled: events that were, and are not now · kept: events whose time is over, which
    the server would drop at once: they are kept, disabled.
    """

    def __init__(self, old: str, new: str) -> None:
        self.enabled: list[str] = []
        self.kept: list[str] = []
        self._old, self._new = (
            ident(old).encode("utf-8", "surrogateescape"),
            ident(new).encode("utf-8", "surrogateescape"),
        )
        self._plain = old
        self._script = Script()
        self._soon = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d %H:%M:%S}".encode()
        self._names = re.compile(
            rb"'(?:[^'\\]|\\.)*'|(?P<call>" + re.escape(self._old) + rb")(?=\." + IDENT + rb"\()"
            rb"|(?P<before>(?i:nextval|lastval|setval|previous_value)\()" + re.escape(self._old) + rb"(?=\.)|" + IDENT,
            re.DOTALL,
        )

    def __call__(self, block: bytes) -> bytes:
        """Return what takes a block's place. Raises NotUnderstoodError."""
        if not block:
            return self._script.end().raw
        return b"".join(self._changed(piece) for piece in self._script.feed(block))

    def _changed(self, piece: Piece) -> bytes:
        if piece.kind == "rows":
            return joined(piece)
        if piece.kind == "statement":
            return self._renamed(piece.raw) if self._old + b"." in piece.raw else piece.raw
        if EVENT.match(piece.raw):
            return self._event(piece.raw)
        renamed = self._old != self._new
        return self._trigger(piece.raw) if renamed and TRIGGER.match(piece.raw) else piece.raw

    def _renamed(self, raw: bytes) -> bytes:
        def change(match: re.Match[bytes]) -> bytes:
            if match["call"]:
                return self._new
            return match["before"] + self._new if match["before"] else match[0]

        return self._names.sub(change, raw)

    def _event(self, raw: bytes) -> bytes:
        place = _VERSION.search(raw)
        match = _EVENT_HEAD.match(raw, place.end()) if place else None
        if match is None:
            raise NotUnderstoodError(
                "an event is written in a way that cannot be disabled", "load the dump by hand into a server of its own"
            )
        name, keep, state = unquoted(match["name"]), match["keep"], match["state"]
        over = match["at"] or match["ends"]
        if state == b"ENABLE":
            self.enabled.append(name)
        if keep == b"NOT PRESERVE" and over and over < self._soon:
            self.kept.append(name)
            keep = b"PRESERVE"
        state = b"DISABLE" if state == b"ENABLE" else state
        return raw[: match.start()] + match["begin"] + keep + b" " + state + raw[match.end() :]

    def _trigger(self, raw: bytes) -> bytes:
        place = _VERSION.search(raw)
        match = _TRIGGER_HEAD.match(raw, place.end()) if place else None
        if match is None:
            raise NotUnderstoodError(
                "a trigger is written in a way that cannot be told from one of another database",
                "load the dump by hand into a server of its own",
            )
        if match["own"] is None and match["of"] is None:
            return raw
        for name in filter(None, (match["own"], match["of"])):
            if _bare(name) != self._plain:
                raise NotUnderstoodError(f"a trigger names another database, {_bare(name)!r}", "load the dump by hand")
        head = match["begin"] + match["name"] + match["when"] + match["table"]
        return raw[: match.start()] + head + raw[match.end() :]


def _bare(name: bytes) -> str:
    return unquoted(name) if name.startswith((b"`", b'"')) else name.decode("utf-8", "surrogateescape")


def joined(piece: Piece) -> bytes:
    """Return rows as few statements: all of a piece but its last become one; a statement never outgrows two pieces."""
    between = b");" + piece.first
    last = piece.raw.rfind(between) if piece.first else -1
    return piece.raw if last < 0 else piece.raw[:last].replace(between, b"),\n(") + piece.raw[last:]
