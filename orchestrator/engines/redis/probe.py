"""Look at a server: who it is, how much it holds, and whether we may have its snapshot."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.engines.redis import programs, proof, saving, users
from orchestrator.engines.redis.connection import Target, connect, lacking, target_of
from orchestrator.engines.redis.facts import info, number, server_name
from orchestrator.engines.redis.options import Options
from orchestrator.engines.redis.payload import CLI_RIGHTS, REPLICATION_RIGHTS
from orchestrator.engines.redis.wire import Refused, Wire
from orchestrator.model.engine import Facts, Item, Source
from orchestrator.model.errors import Precondition
from orchestrator.model.execution import Executor, Finding, Undo

DATA_ITEM = "dump"
USERS_ITEM = "users"
_SMALL = 65536  # bytes of an empty snapshot, generously
_MODULE = re.compile(r"name=([^,\n]+)")
_BUILT_IN = {"vectorset", "lua"}  # parts of Redis 8 and Valkey 9 that call themselves modules
_SECTIONS = ("server", "replication", "persistence", "memory", "cluster", "modules")


def probe(source: Source, at: Executor, undo: Undo) -> Facts:
    """See orchestrator.model.engine.Engine."""
    options: Options = source.options
    target = target_of(source, at)
    tool = programs.version(programs.find("cli", options, at), at, undo) if options.method == "cli" else ""
    with connect(target) as wire:
        try:
            told = info(wire, *_SECTIONS)
        except Refused as refused:
            if refused.code != "NOPERM" or options.method == "bgsave":
                raise lacking(target, refused, saving.RIGHTS) from refused
            told = {}
        findings = [*_judged(target, told), *_unknown(target, told)]
        _assert_rights(wire, target, told)
        items = [Item(source, DATA_ITEM, "rdb", _size(told))]
        if options.globals and (not told or number_of(told) >= 6):
            try:
                users.listed(wire)
                items.append(Item(source, USERS_ITEM, "acl", _SMALL, role="globals"))
            except Refused as refused:
                findings.append(_no_users(target, refused))
    return Facts(tuple(items), server_name(told), tool, tuple(findings))


def number_of(told: dict[str, str]) -> int:
    """Return the first number of the server's version; Valkey tells Redis's that it is compatible with."""
    first = told.get("redis_version", "").partition(".")[0]
    return int(first) if first.isdigit() else 0


def _size(told: dict[str, str]) -> int | None:
    """A snapshot is smaller than the memory of the same data, as a rule: half of it, so that it is staged if it can."""
    return max(_SMALL, number(told, "used_memory_dataset") // 2) if told else None


def _unknown(target: Target, told: dict[str, str]) -> Iterator[Finding]:
    if not told:
        text = f"{target.where}: version, size and state of the server are not known"
        yield Finding("info", text, f"ACL SETUSER {target.who} +info")


def _judged(target: Target, told: dict[str, str]) -> Iterator[Finding]:
    where = target.where
    if told.get("loading") == "1":
        raise Precondition(f"{where}: the server is loading its data", "wait until it has")
    if told.get("role") == "slave":
        if told.get("master_link_status") != "up":
            text = f"{where}: is a replica that has lost its source: what it holds is old"
            yield Finding("warning", text, "mend the link, or back up another server")
        else:
            yield Finding("info", f"{where}: is a replica", "its data may be a little behind its source's")
    if told.get("cluster_enabled") == "1":
        text = f"{where}: is one node of a cluster: only its own slots are stored"
        yield Finding("info", text, "give every primary of the cluster a source of its own")
    if modules := sorted({*_MODULE.findall(told.get("module", ""))} - _BUILT_IN):
        text = f"{where}: has modules ({', '.join(modules)}): what they keep is stored as they write it"
        yield Finding("info", text, "the server that it is restored to needs the same modules")
    if told.get("rdb_last_bgsave_status") == "err":
        yield Finding("warning", f"{where}: its last save failed", "see the server's log; its disk may be full")


def _assert_rights(wire: Wire, target: Target, told: dict[str, str]) -> None:
    """See that the user may do what the dump will ask, without doing it. Raises RightsMissing, Precondition.

    Rights are looked at before arguments are: a server that objects to these would have obeyed right ones. Before
    version 7 a strange offset is taken for none, and a snapshot would be made: there the dump itself has to tell.
    """
    commands: tuple[tuple[str, ...], ...] = (("REPLCONF", "capa", "eof"), ("PSYNC", "?", "none"))
    needed = REPLICATION_RIGHTS
    if target.options.method == "bgsave":
        proof.assert_beside(target)
        needed, commands = saving.RIGHTS, (("BGSAVE", "?"), ("CONFIG", "GET", "dir"))
    elif target.options.method == "cli":
        needed, commands = CLI_RIGHTS, (("REPLCONF", "capa", "eof"),)
    elif number_of(told) < 7:
        commands = commands[:1]
    for command in commands:
        try:
            wire.call(*command)
        except Refused as refused:
            if refused.code == "NOPERM":
                raise lacking(target, refused, needed) from refused
            if refused.code == "NOMASTERLINK":
                text = f"{target.where}: a replica that has lost its source gives no snapshot"
                raise Precondition(text, "mend the link, back up another server, or set method: bgsave") from refused


def _no_users(target: Target, refused: Refused) -> Finding:
    text = f"{target.where}: its users are not stored: {refused.said}"
    return Finding("warning", text, f"ACL SETUSER {target.who} {users.RIGHTS}, or globals: false")
