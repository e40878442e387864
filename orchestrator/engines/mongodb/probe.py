"""Look at a server: its databases, their sizes, whether we may read them, and of which moment a dump would be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.engines._databases import ALL
from orchestrator.engines.mongodb import moment, mongodump, people
from orchestrator.engines.mongodb.catalogue import Described, absent, describe, exists
from orchestrator.engines.mongodb.connection import Server, connect, target_of
from orchestrator.engines.mongodb.options import Options
from orchestrator.engines.mongodb.reading import raw
from orchestrator.model.engine import Facts, Item, Source
from orchestrator.model.errors import Interrupted, Precondition, ResguardoError, ServerUnreachable
from orchestrator.model.execution import Executor, Finding, Undo

GLOBALS_ITEM = "globals"
EXTENSION = "archive"
_SMALL = 65536  # bytes of an empty archive, generously
_OWN = frozenset({"local", "config"})  # of each server itself


def probe(source: Source, at: Executor, undo: Undo) -> Facts:
    """See orchestrator.model.engine.Engine."""
    options: Options = source.options
    with connect(target_of(source, at)) as server:
        path = mongodump.find(options, at)
        tool = mongodump.version(path, at, undo) if path else _driver()
        version = str(server.command("admin", {"buildInfo": 1}).get("version", ""))
        hello = server.command("admin", {"hello": 1})
        names = _names(server, options)
        items: list[Item] = []
        findings: list[Finding] = []
        for name in names:
            _readable(server, describe(server, name))
            size = moment.size_of(server, name)
            items.append(Item(source, name, EXTENSION, None if size is None else size + _SMALL))
            findings += _moments(server, options, name, hello, by_tool=path is not None)
        if options.globals:
            items, told = _with_globals(server, source, items, names)
            findings += told
    return Facts(tuple(items), f"MongoDB {version}".rstrip(), tool, tuple(dict.fromkeys(findings)))


def _driver() -> str:
    import pymongo  # noqa: PLC0415 - drivers are imported when used

    return f"pymongo {pymongo.version}"


def _names(server: Server, options: Options) -> list[str]:
    if options.database != ALL:
        if not exists(server, options.database):
            raise absent(server, options.database)
        return [options.database]
    told = server.command("admin", {"listDatabases": 1, "nameOnly": True, "authorizedDatabases": False})["databases"]
    names = sorted(str(each["name"]) for each in told)
    names = [name for name in names if name not in _OWN]
    options.assert_matched(names)
    wanted = [name for name in names if options.wants(name)]
    # users and roles are the globals' matter; others put collections of their own into admin
    wanted = [name for name in wanted if name != "admin" or describe(server, name)]
    if not wanted:
        text = f"none of {len(names)} databases is left to take" if names else "the server shows this user no database"
        raise Precondition(text, "correct include and exclude or the user's roles, or disable the source")
    return wanted


def _readable(server: Server, found: Sequence[Described]) -> None:
    """Read one document of each collection. Raises RightsMissing."""

    def question() -> None:
        for each in found:
            if each.body is not None:
                list(raw(server, each.body, limit=1))

    server.ask(question, limit=300.0)


def _moments(server: Server, options: Options, name: str, hello: dict[str, Any], *, by_tool: bool) -> Iterator[Finding]:
    if by_tool or options.consistency == "collection":
        return
    must = options.consistency == "snapshot"
    why = moment.why_not(server, name, hello, must=must)
    if why is None:
        return
    if must:
        raise Precondition(f"no snapshot can be had: {why.message}", why.hint)
    yield why


def _with_globals(
    server: Server, source: Source, items: list[Item], names: Sequence[str]
) -> tuple[list[Item], list[Finding]]:
    try:
        found = people.read(server, people.names(server))
    except (Interrupted, ServerUnreachable):
        raise
    except ResguardoError as error:
        text = f"users and roles are not in the backup: {error.message}"
        return items, [Finding("warning", text, f"{_seeing(server)}; or set globals to false")]
    if not found.counts:
        return items, []
    return [Item(source, globals_name(names), people.EXTENSION, _SMALL, role="globals"), *items], []


def _seeing(server: Server) -> str:
    """Return the statements that let the user see users and roles, and grant none to itself."""
    actions = 'actions: ["viewUser", "viewRole"]'
    role = f'{{role: "seeUsers", roles: [], privileges: [{{resource: {{db: "", collection: ""}}, {actions}}}]}}'
    user, base = server.target.user or "…", server.target.options.auth_database
    grant = f'db.getSiblingDB("{base}").grantRolesToUser("{user}", [{{role: "seeUsers", db: "admin"}}])'
    return f'db.getSiblingDB("admin").createRole({role}); {grant}'


def globals_name(databases: Sequence[str]) -> str:
    """Return the item name of the globals: not that of a database, which may bear any name."""
    name = GLOBALS_ITEM
    while name in databases:
        name += "+"
    return name
