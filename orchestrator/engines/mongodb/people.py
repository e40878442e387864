"""The globals: users with their credentials, and roles, as lines of canonical Extended JSON.

    {"resguardo": "mongodb/globals/1"}
    {"role": {…}} and {"user": {…}}, one a line, sorted
    {"complete": HOW MANY}

A restore only adds what is missing: a right that was revoked, or an old password, never comes back over a newer one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestrator.engines.mongodb import moment
from orchestrator.engines.mongodb.catalogue import from_json, to_json
from orchestrator.engines.mongodb.connection import Server, Target, connect, memory_file, target_of
from orchestrator.engines.mongodb.incoming import Incoming
from orchestrator.model.engine import Data, Dump, DumpEnd, Item, Restored
from orchestrator.model.errors import Interrupted, ResguardoError, RestoreFailed, RightsMissing, ServerUnreachable
from orchestrator.model.execution import Executor, Finding, Trailer

MAGIC = b'{"resguardo": "mongodb/globals/1"}\n'
FOOTER = b'{"complete": '
EXTENSION = "json"
LIMIT = 64 << 20  # bytes of globals that are read into memory
_USER_FIELDS = ("_id", "userId", "user", "db", "credentials", "customData", "roles", "authenticationRestrictions")


@dataclass(frozen=True)
class People:
    """Users and roles as the server tells them, by `DATABASE.NAME`."""

    users: Mapping[str, Mapping[str, Any]]
    roles: Mapping[str, Mapping[str, Any]]

    @property
    def counts(self) -> dict[str, int]:
        """One for each."""
        return {f"user {name}": 1 for name in self.users} | {f"role {name}": 1 for name in self.roles}


def read(server: Server, databases: Sequence[str]) -> People:
    """Read them all. Raises RightsMissing, and as `Server.ask`."""
    users: dict[str, Mapping[str, Any]] = {}
    roles: dict[str, Mapping[str, Any]] = {}
    places = {*databases}
    for found in _users(server, databases):
        users[f"{found['db']}.{found['user']}"] = {key: found[key] for key in _USER_FIELDS if key in found}
        # a role may lie in a database that holds nothing else
        places |= {str(found["db"]), *(str(role["db"]) for role in found.get("roles", ()))}
    for found in _roles(server, sorted(places - {"$external"})):
        roles[f"{found['db']}.{found['role']}"] = found
    return People(users, roles)


def _users(server: Server, databases: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    try:
        yield from server.command("admin", {"usersInfo": {"forAllDBs": True}, "showCredentials": True})["users"]
        for database in databases:  # a server may answer the first with nothing
            yield from server.command(database, {"usersInfo": 1, "showCredentials": True})["users"]
    except RightsMissing:
        # the role `backup` may read the collection, and may not ask for users
        stored = server.listed("admin", {"find": "system.users"})
        if any("credentials" not in each for each in stored):
            raise
        yield from stored


def _roles(server: Server, databases: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    try:
        for database in databases:
            told = server.command(database, {"rolesInfo": 1, "showPrivileges": True})
            for role in told["roles"]:
                fields = ("role", "db", "roles", "privileges", "authenticationRestrictions")
                yield {key: role[key] for key in fields if key in role}
    except RightsMissing:
        yield from server.listed("admin", {"find": "system.roles"})


def render(people: People) -> bytes:
    """Return the item's bytes."""
    lines = [to_json({"role": people.roles[name]}) for name in sorted(people.roles)]
    lines += [to_json({"user": people.users[name]}) for name in sorted(people.users)]
    return MAGIC + "".join(f"{line}\n" for line in lines).encode() + FOOTER + f"{len(lines)}}}\n".encode()


def parse(data: bytes) -> People:
    """Read them back. Raises RestoreFailed."""
    users: dict[str, Mapping[str, Any]] = {}
    roles: dict[str, Mapping[str, Any]] = {}
    try:
        first, *lines, last = data.decode().split("\n")[:-1]
        complete = f"{first}\n".encode() == MAGIC and from_json(last).get("complete") == len(lines)
        for line in lines:
            ((kind, found),) = from_json(line).items()
            {"user": users, "role": roles}[kind][f"{found['db']}.{found[kind]}"] = found
    except (ValueError, TypeError, KeyError) as error:
        raise RestoreFailed(f"the users and roles cannot be read: {error}", "restore another point") from error
    if not complete:
        raise RestoreFailed("the users and roles are not complete", "restore another point")
    return People(users, roles)


@dataclass
class PeopleDump:
    """Users and roles on their way; see orchestrator.model.engine.Dump."""

    fd: int
    counts: Mapping[str, int]
    as_of: datetime
    trailer: Trailer = field(default_factory=lambda: Trailer(MAGIC, FOOTER, tail=64))

    def finish(self) -> DumpEnd:
        """They were read before the first byte was passed on."""
        return DumpEnd(counts=self.counts, counts_exact=True, as_of=self.as_of)


def dump(stack: ExitStack, target: Target) -> Dump:
    """Read all users and roles, and pass them on."""
    with connect(target) as server:
        as_of = moment.clock(server)
        people = read(server, names(server))
    fd = memory_file(render(people))
    stack.callback(os.close, fd)
    return PeopleDump(fd, people.counts, as_of)


def names(server: Server) -> list[str]:
    """Return the databases, `admin` among them, in which users may have been created."""
    told = server.command("admin", {"listDatabases": 1, "nameOnly": True})["databases"]
    return sorted({"admin", *(str(each["name"]) for each in told)} - {"local"})


def restore(item: Item, data: Data, to: str, at: Executor) -> Restored:
    """Add the users and roles that are missing. Raises RestoreFailed, DataDamaged."""
    read_bytes = bytearray()
    with Incoming(data, item.source.wait) as incoming:
        while block := incoming.read():
            read_bytes += block
            if len(read_bytes) > LIMIT:
                raise RestoreFailed(f"the globals are larger than {LIMIT} bytes", "look at the stored file yourself")
    people = parse(bytes(read_bytes))
    with connect(target_of(item.source, at, "restore")) as server:
        server.steady()
        places = (str(each["db"]) for each in (*people.users.values(), *people.roles.values()))
        there = read(server, sorted({*names(server), *places} - {"$external"}))
        findings = [*_add_roles(server, people, there), *_add_users(server, people, there)]
    return Restored(to, tuple(findings))


def _add_roles(server: Server, people: People, there: People) -> Iterator[Finding]:
    missing = {name: role for name, role in people.roles.items() if name not in there.roles}
    for role in missing.values():  # first all, so that they may contain each other
        _create(server, role, "createRole", {"privileges": role.get("privileges", []), "roles": []})
    for role in missing.values():
        _create(server, role, "updateRole", {"roles": role.get("roles", [])})
    yield from _different("role", people.roles, there.roles)


def _create(server: Server, role: Mapping[str, Any], command: str, more: dict[str, Any]) -> None:
    try:
        server.command(str(role["db"]), {command: role["role"], **more})
    except ResguardoError as error:
        text = f"role {role['role']!r} of {role['db']!r} cannot be created: {error.message}"
        raise RestoreFailed(text, "set restore_user to one with the role userAdminAnyDatabase or restore") from error


def _add_users(server: Server, people: People, there: People) -> Iterator[Finding]:
    for name, user in people.users.items():
        if name in there.users:
            continue
        if not _insert(server, user):
            roles = to_json({"roles": user.get("roles", [])})
            text = f"user {name!r} did not come back: the server takes no stored credentials"
            yield Finding("error", text, f"db.createUser with a new password and {roles}")
    yield from _different("user", people.users, there.users)


def _insert(server: Server, user: Mapping[str, Any]) -> bool:
    """Put a user where the server keeps them, credentials included; nothing else takes a password's hash."""
    try:
        told = server.command("admin", {"insert": "system.users", "documents": [dict(user)]})
    except (Interrupted, ServerUnreachable):
        raise
    except ResguardoError:
        return False
    if told.get("writeErrors"):
        return False
    with suppress(ResguardoError):
        server.command("admin", {"invalidateUserCache": 1})
    found = server.command(str(user["db"]), {"usersInfo": str(user["user"])})
    return bool(found.get("users"))


def _different(kind: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding]:
    for name in sorted(then.keys() & now.keys()):
        if to_json({"it": then[name].get("roles")}) != to_json({"it": now[name].get("roles")}):
            text = f"{kind} {name!r} has other roles now than then: it was left as it is"
            yield Finding("info", text, f"then: {to_json({'roles': then[name].get('roles')})}")


def verify(item: Item, expected: Mapping[str, int], at: Executor) -> list[Finding]:
    """Every role that was there then is there now. Users that could not come back were told, one by one."""
    places = {key.partition(" ")[2].partition(".")[0] for key in expected}  # a database's name holds no dot
    with connect(target_of(item.source, at, "restore")) as server:
        there = read(server, sorted({*names(server), *places} - {"$external"})).counts
    missing = sorted(key for key in expected.keys() - there.keys() if key.startswith("role "))
    return [Finding("error", f"{key!r} did not come back", "see the server's log") for key in missing]
