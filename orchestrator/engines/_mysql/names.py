"""What in a copy still names the original database, or a user that is not there: found, and told."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.engines._mysql.connection import Session
from orchestrator.engines._mysql.quoting import ident
from orchestrator.model.errors import ResguardoError
from orchestrator.model.execution import Finding

_LOOK_LIMIT = 300.0
_FEW = 5
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)
_BODIES = {
    "view": """SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION, DEFINER FROM information_schema.VIEWS
        WHERE TABLE_SCHEMA = %s""",
    "trigger": """SELECT TRIGGER_SCHEMA, TRIGGER_NAME, ACTION_STATEMENT, DEFINER FROM information_schema.TRIGGERS
        WHERE TRIGGER_SCHEMA = %s""",
    "routine": """SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_DEFINITION, DEFINER FROM information_schema.ROUTINES
        WHERE ROUTINE_SCHEMA = %s""",
    "event": """SELECT EVENT_SCHEMA, EVENT_NAME, EVENT_DEFINITION, DEFINER FROM information_schema.EVENTS
        WHERE EVENT_SCHEMA = %s""",
}


def look(session: Session, old: str, new: str) -> list[Finding]:
    """Look through all bodies of the copy `new`. The server itself does not tell what a body will use.

    A name in a text that is put together at run time cannot be seen.
    """
    named: list[str] = []
    definers: dict[str, str] = {}
    pattern = _naming(old)
    for kind, query in _BODIES.items():
        for schema, name, body, definer in session.execute(query, [new], limit=_LOOK_LIMIT):
            if schema != new:
                continue
            definers.setdefault(str(definer), f"{kind} {name!r}")
            # The server writes a view itself: what is in its texts names nothing.
            text = _TEXT.sub("''", str(body or "")) if kind == "view" else str(body or "")
            if old != new and pattern.search(text):
                named.append(f"{kind} {name!r}")
    return [*_of_names(named, old, new), *_of_definers(session, definers, new)]


def _naming(database: str) -> re.Pattern[str]:
    plain = rf"(?<![\w$`.]){re.escape(database)}" if re.fullmatch(r"[\w$]+", database) else r"(?!)"
    return re.compile(rf"(?:{re.escape(ident(database))}|{plain})\s*\.", re.IGNORECASE)


def _of_names(named: list[str], old: str, new: str) -> Iterator[Finding]:
    if named:
        some = ", ".join(named[:_FEW]) + (f" and {len(named) - _FEW} more" if len(named) > _FEW else "")
        text = f"{new!r}: {some} names database {old!r}: in the copy, too, it works on that one"
        yield Finding("warning", text, f"make it anew without {old!r} before the copy is used in its place")


def _of_definers(session: Session, definers: dict[str, str], new: str) -> Iterator[Finding]:
    try:
        known = {f"{user}@{host}" for user, host in session.execute("SELECT User, Host FROM mysql.user")}
    except ResguardoError:
        return  # who may not look at users is told so when a body is used
    for definer, what in sorted(definers.items()):
        if definer and definer not in known and definer.removesuffix("@") + "@" not in known:
            text = (
                f"{new!r}: {what} and others were defined by {definer}, which the server does not have: they cannot run"
            )
            yield Finding(
                "warning", text, "create that user (restore with --globals), or make them anew with another definer"
            )
