"""Settings of the server that change what a tool reads: it begins its session with them, and does not look at them."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.engines._mysql.connection import NO_ROW_LIMIT, Session
from orchestrator.engines._mysql.grants import Grants
from orchestrator.model.errors import Precondition
from orchestrator.model.execution import Finding

_TAKEN_OUT = "and take it out of the server's configuration and init_connect"


def refuse_partial(session: Session) -> None:
    """Refuse to dump with settings by which queries give only some rows. Raises Precondition."""
    if session.given_limit < NO_ROW_LIMIT:
        raise Precondition(
            f"sql_select_limit is {session.given_limit}: a dump would hold only so many rows of each table",
            f"SET GLOBAL sql_select_limit = {NO_ROW_LIMIT}; {_TAKEN_OUT}",
        )
    for _, when in session.execute("SHOW SESSION VARIABLES LIKE 'system\\_versioning\\_asof'"):
        if str(when).upper() not in {"DEFAULT", ""}:
            raise Precondition(
                f"system_versioning_asof is {when}: a dump would hold the rows of then",
                f"SET GLOBAL system_versioning_asof = DEFAULT; {_TAKEN_OUT}",
            )


_PAST_IT = ("SUPER", "CONNECTION ADMIN", "CONNECTION_ADMIN")  # both manuals: init_connect is not run for these


def of_init_connect(session: Session, grants: Grants) -> Iterator[Finding]:
    """Tell of statements that run in the tool's session before its own."""
    if session.value("SELECT @@GLOBAL.init_connect") and not any(grants.has(right) for right in _PAST_IT):
        text = "init_connect is set: its statements run in the dump's session first, and may change what it reads"
        right = "CONNECTION ADMIN" if session.server.kind == "mariadb" else "CONNECTION_ADMIN"
        yield Finding("warning", text, f"GRANT {right} ON *.* TO {grants.user}, for whom they are not run")
