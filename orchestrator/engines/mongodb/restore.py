"""Restore an archive into a database of a new name: all of it, or nothing is left."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from orchestrator.engines.mongodb.catalogue import collections, exists, is_ours
from orchestrator.engines.mongodb.connection import Server, Target, connect, target_of
from orchestrator.engines.mongodb.incoming import Incoming
from orchestrator.engines.mongodb.loading import Loading
from orchestrator.model.engine import Data, Item, Restored
from orchestrator.model.errors import DataDamaged, Interrupted, ResguardoError, RestoreFailed
from orchestrator.model.execution import Executor, Finding, Undo
from orchestrator.model.waiting import poll

MARK = "resguardo_unfinished"  # a collection that is there until the end, so that a killed restore is recognised
_NAME_BYTES = 63
_FORBIDDEN = frozenset('/\\. "$\0')
_OURSELVES = frozenset({"admin", "local", "config"})
_EXISTS = "choose another name, or drop it yourself"


def restore(item: Item, data: Data, to: str, at: Executor, undo: Undo) -> Restored:
    """See orchestrator.model.engine.Engine. The source's restore_user is used where it is set."""
    del undo
    check_name(to)
    target, token = target_of(item.source, at, "restore"), secrets.token_hex(8)
    made: set[str] = set()
    with connect(target, item.source.timeout) as server:
        refuse_existing(server, to)
        with Incoming(data, item.source.wait) as incoming:
            try:
                claim(server, to, token)
                findings = _load(Loading(server, to, item.source.timeout, made), incoming.read)
                server.command(to, {"drop": MARK})
            except (ResguardoError, OSError) as error:
                server.settle(60.0)  # what was asked for may still be done
                raise _cleaned(error, target, to, token, made) from error
    return Restored(to, tuple(findings))


class _Taken(RestoreFailed):
    """Somebody else is making a database of that name."""


def claim(server: Server, to: str, token: str) -> None:
    """Make the database, and sign it: of two that want the same name one is refused, and so are we where others have
    put something since we looked. Raises RestoreFailed.
    """
    told = server.command(to, {"insert": MARK, "documents": [{"_id": 1, "by": token}]})
    if told.get("writeErrors"):
        raise _Taken(f"another restore is making database {to!r}", _EXISTS)
    if others := collections(server, to) - {MARK}:
        server.command(to, {"drop": MARK})
        raise _Taken(f"others have just made database {to!r}, with {min(others)!r} in it", _EXISTS)


def _load(loading: Loading, read: Callable[[], bytes]) -> list[Finding]:
    while data := read():
        loading.feed(data)
    return loading.finish()


def check_name(name: str) -> None:
    """Refuse a name that a server would. Raises RestoreFailed."""
    size = len(name.encode("utf-8", "surrogateescape"))
    if name in _OURSELVES:
        raise RestoreFailed(f"{name!r} is the server's own database", "choose another name")
    if not 1 <= size <= _NAME_BYTES or _FORBIDDEN & set(name):
        text = f"{name!r} cannot name a database"
        raise RestoreFailed(text, f'choose one of 1 to {_NAME_BYTES} bytes without / \\ . " $ and spaces')


def refuse_existing(server: Server, name: str) -> None:
    """Refuse a name that is taken; upper and lower case are the same to a server. Raises RestoreFailed."""
    try:
        told = server.command("admin", {"listDatabases": 1, "nameOnly": True})["databases"]
    except Interrupted:
        raise
    except ResguardoError:  # the user may not list them: this one can be looked into
        told = [{"name": name}] if exists(server, name) else []
    taken = next((str(each["name"]) for each in told if str(each["name"]).lower() == name.lower()), None)
    if taken is None:
        return
    if taken == name and exists(server, name, MARK):
        text = f"database {name!r} exists already: a restore that is under way or was killed made it"
        raise RestoreFailed(text, f"when no restore is under way, drop it: {dropping(name)}")
    raise RestoreFailed(f"database {taken!r} exists already", _EXISTS)


def dropping(name: str) -> str:
    """Return what drops a database, for people."""
    quoted = name.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"db.getSiblingDB('{quoted}').dropDatabase()"


def _cleaned(error: ResguardoError | OSError, target: Target, to: str, token: str, made: set[str]) -> ResguardoError:
    """Drop what was made, if the database bears our sign; say so when that fails."""
    reason, hint = (error.message, error.hint) if isinstance(error, ResguardoError) else (str(error), None)
    try:
        with connect(replace(target, wait=poll)) as server:
            if server.listed(to, {"find": MARK, "filter": {"_id": 1, "by": token}}):
                if others := _removed(server, to, made):
                    text = f"{reason}; database {to!r} is still there, with {others[0]!r} in it, which others made"
                    return RestoreFailed(text, _EXISTS)
            elif exists(server, to) and not isinstance(error, _Taken):  # its removal was the last that was asked for
                text = f"{reason}; database {to!r} is there without a mark that it is not complete"
                return RestoreFailed(text, f"see what it holds, or drop it: {dropping(to)}")
    except ResguardoError as left:
        text = f"{reason}; the half-made database {to!r} is still there: {left.message}"
        return RestoreFailed(text, dropping(to))
    if isinstance(error, (DataDamaged, Interrupted, RestoreFailed)):
        return error
    return RestoreFailed(f"restoring into {to!r} failed: {reason}", hint)


def _removed(server: Server, to: str, made: set[str]) -> list[str]:
    """Drop the collections that a restore made, its mark last; the database only when nothing of others is in it, which
    is what this returns.
    """
    for name in [*sorted(made & collections(server, to)), MARK]:
        server.command(to, {"drop": name})
    left = collections(server, to)
    others = sorted(filter(is_ours, left))
    if left and not others:  # what the server keeps for views and time series
        server.command(to, {"dropDatabase": 1})
    return others
