"""What is run in a database before it is dumped. It never fails a backup: what went wrong is a warning."""

from __future__ import annotations

import re

from orchestrator.engines.postgresql.connection import Session
from orchestrator.engines.postgresql.options import Options
from orchestrator.engines.postgresql.quoting import ident
from orchestrator.model.errors import Interrupted, ResguardoError, ServerUnreachable
from orchestrator.model.execution import Finding

_CANCELLED = "57014"  # query_canceled in the manual's appendix "PostgreSQL Error Codes"
_GRACE = 10.0  # seconds after the server's own limit until we stop listening
_STATEMENTS = {"analyze": "ANALYZE", "vacuum": "VACUUM (ANALYZE)"}
_MAINTAIN = 170000  # the version that brought the role pg_maintain
_NAMED = re.compile('"(.+)"')
# Every role but the database's owner is told of these each time; a notice names no schema.
_SYSTEM = """SELECT relname FROM pg_class GROUP BY relname HAVING bool_and(relnamespace IN
(SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast')))"""


def upkeep(session: Session, database: str, options: Options) -> tuple[Finding, ...]:
    """Run it, at most for `upkeep_limit`, with the server's own limit: what was done by then stays done.

    Raises Interrupted, ServerUnreachable (the session is lost, and the dump needs it).
    """
    if options.upkeep == "none":
        return ()
    statement, limit = _STATEMENTS[options.upkeep], options.upkeep_limit
    session.notices.clear()
    try:
        session.execute(f"SET statement_timeout = {max(1, int(limit * 1000))}")
        try:
            session.execute(statement, limit=limit + _GRACE)
        finally:
            session.execute("SET statement_timeout = 0")
    except (Interrupted, ServerUnreachable):
        raise
    except ResguardoError as error:
        late = getattr(error.__cause__, "sqlstate", None) == _CANCELLED
        why = f"took longer than {limit:g} s" if late else error.message
        hint = "raise upkeep_limit, or leave it to autovacuum" if late else error.hint
        return (Finding("warning", f"database {database!r}: {statement} before the dump: {why}", hint),)
    return _skipped(session, database, statement)


def _skipped(session: Session, database: str, statement: str) -> tuple[Finding, ...]:
    """Tables that the role may not touch are told by notices, and the server calls the whole a success."""
    warned = [text for severity, text in session.notices if severity == "WARNING"]
    if warned:
        system = {str(name) for (name,) in session.execute(_SYSTEM)}
        warned = [text for text in warned if not ((named := _NAMED.search(text)) and named[1] in system)]
    if not warned:
        return ()
    text = f"database {database!r}: {statement} before the dump left out {len(warned)} tables: {warned[0]}"
    role = ident(str(session.value("SELECT current_user")))
    grant = f"GRANT pg_maintain TO {role}" if session.version >= _MAINTAIN else "only their owner or a superuser may"
    return (Finding("warning", text, grant),)
