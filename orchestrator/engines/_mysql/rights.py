"""Whether our user may read all of what a dump must hold: without a right objects are left out silently, exit code 0.

Source: measured with mariadb-dump and mysqldump; a dump without TRIGGER lacks triggers, one without a right to see
routines lacks routines, and both end well.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.engines._databases import ALL
from orchestrator.engines._mysql.connection import Session
from orchestrator.engines._mysql.grants import Grants
from orchestrator.engines._mysql.options import Options
from orchestrator.engines._mysql.quoting import ident
from orchestrator.engines._mysql.server import Server
from orchestrator.model.errors import Interrupted, ResguardoError, RightsMissing, ServerUnreachable
from orchestrator.model.execution import Finding

NEEDED = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")
_SHOWS_ROUTINES = ("EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE")  # who has one of these sees that there are routines
_OWN_RIGHT = (11, 3)  # MariaDB: SHOW CREATE ROUTINE


def refuse_lacking(grants: Grants, server: Server, database: str, routines: int, options: Options) -> None:
    """Refuse to dump a database that would come out incomplete. Raises RightsMissing with the GRANT to run."""
    lacking = [right for right in NEEDED if not grants.has(right, database)]
    blind = not _sees_routines(grants, server, database, routines)
    if not lacking and not blind:
        return
    everywhere = options.database == ALL
    statements = []
    if lacking:
        statements.append(_grant(grants, lacking, database, options))
    if blind and not (everywhere and "SELECT" in lacking):
        statements.append(f"GRANT {_of_routines(server)} TO {grants.user}")
    what = [*lacking, *(["the right to read routines"] if blind else [])]
    raise RightsMissing(
        f"database {database!r}: the user {grants.user} lacks {', '.join(what)}: a dump would lack objects silently",
        "; ".join(statements),
    )


def refuse_unseen_views(
    session: Session, grants: Grants, database: str, views: Sequence[str], options: Options
) -> None:
    """Refuse what the tools would stumble over: who asks for a view's columns must be allowed to run its functions.

    Raises RightsMissing with the GRANT to run.
    """
    if grants.has("EXECUTE", database):
        return
    for view in views:
        try:
            session.execute(f"SHOW FIELDS FROM {ident(database, view)}")
        except RightsMissing as error:
            text = f"database {database!r}: the user {grants.user} may not look into view {view!r}: {error.message}"
            raise RightsMissing(text, _grant(grants, ["EXECUTE"], database, options)) from error
        except (ServerUnreachable, Interrupted):
            raise
        except ResguardoError:
            continue  # a view that is broken: the tool tells


def first_grant(grants: Grants, options: Options) -> str:
    """Return the GRANT for a user that has none, and therefore sees nothing."""
    scope = "*.*" if options.database == ALL else f"{ident(grants.pattern(options.database))}.*"
    return f"GRANT {', '.join(NEEDED)} ON {scope} TO {grants.user}"


def _grant(grants: Grants, rights: Sequence[str], database: str, options: Options) -> str:
    """Return the statement that gives rights and takes none: a grant on one database hides those on patterns."""
    if options.database == ALL:
        return f"GRANT {', '.join(rights)} ON *.* TO {grants.user}"
    every = [*rights, *(right for right in grants.hidden(database) if right not in rights)]
    return f"GRANT {', '.join(every)} ON {ident(grants.pattern(database))}.* TO {grants.user}"


def _sees_routines(grants: Grants, server: Server, database: str, routines: int) -> bool:
    if grants.has("SELECT"):
        return True
    if routines == 0 and any(grants.has(right, database) for right in _SHOWS_ROUTINES):
        return True
    if server.kind == "mysql":
        return grants.has("SHOW_ROUTINE")
    own = server.version >= _OWN_RIGHT and grants.has("SHOW CREATE ROUTINE", database)
    return own or grants.has("SELECT", "mysql", "proc")


def _of_routines(server: Server) -> str:
    return "SHOW_ROUTINE ON *.*" if server.kind == "mysql" else "SELECT ON mysql.proc"


def refuse_binlog(grants: Grants, server: Server) -> None:
    """Refuse to note the binary log's position without the rights for it. Raises RightsMissing."""
    reading = "REPLICATION CLIENT" if server.kind == "mysql" else "BINLOG MONITOR"
    lacking = [right for right in ("RELOAD", reading) if not grants.has(right)]
    if lacking:
        raise RightsMissing(
            f"binlog: the user {grants.user} lacks {', '.join(lacking)}",
            f"GRANT {', '.join(lacking)} ON *.* TO {grants.user}; or leave out binlog",
        )


def reads_accounts(grants: Grants) -> bool:
    """Whether the user may read other users' passwords and grants."""
    return grants.has("SELECT", "mysql")


def accounts_hint(grants: Grants) -> str:
    """Say how it could."""
    return f"GRANT SELECT ON mysql.* TO {grants.user}; or set globals: false"


def of_restoring(grants: Grants, options: Options) -> Sequence[Finding]:
    """Say before the bad day what a restore will lack."""
    if not options.restore_user:
        if all(grants.has(right) for right in ("CREATE", "DROP", "INSERT", "ALTER")):
            return ()
        text = f"restoring needs restore_user: {grants.user} may not create databases"
        return (Finding("info", text, "docs/databases/mariadb.md says how to make that user"),)
    if options.restore_password or not options.password:
        return ()
    text = f"restore_user {options.restore_user} has no restore_password: `password` is that of {grants.user}"
    return (Finding("info", text, "set restore_password, unless the server lets that user in without"),)
