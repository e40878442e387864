"""What a database holds, as mongodump describes it: collections with options and indexes, views, time series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.engines.mongodb.archive import BUCKETS, Entry, Namespace
from orchestrator.engines.mongodb.connection import Server
from orchestrator.model.errors import Precondition

SCRIPTS = "system.js"  # functions that users store; the only system collection that is theirs
INDEXES, VIEWS = "$indexes ", "$views"  # no collection has a name that begins with $


@dataclass(frozen=True)
class Described:
    """A collection. body: where its documents are read, None for a view · indexes: as listIndexes tells them · uuid: it
    keeps that under a new name; "" where the server tells none.
    """

    entry: Entry
    options: Mapping[str, Any]
    indexes: tuple[Mapping[str, Any], ...] = ()
    body: Namespace | None = None
    uuid: str = ""


def is_ours(name: str) -> bool:
    """Whether a collection holds users' data, and not the server's own."""
    return not name.startswith("system.") or name == SCRIPTS


def describe(server: Server, database: str) -> list[Described]:
    """Return what a database holds, sorted by name. Raises as `Server.ask`."""
    found = server.listed(database, {"listCollections": 1})
    names = {str(each["name"]) for each in found}
    wanted = sorted((each for each in found if is_ours(str(each["name"]))), key=lambda each: str(each["name"]))
    return [_described(server, database, each, names) for each in wanted]


def exists(server: Server, database: str, collection: str | None = None) -> bool:
    """Whether a database has any collection, or this one; one without any is not there. Raises as `Server.ask`."""
    query = {} if collection is None else {"name": collection}
    return bool(server.listed(database, {"listCollections": 1, "nameOnly": True, "filter": query}))


def collections(server: Server, database: str) -> set[str]:
    """Return the names of all of a database's collections, the server's own among them. Raises as `Server.ask`."""
    return {str(each["name"]) for each in server.listed(database, {"listCollections": 1, "nameOnly": True})}


def absent(server: Server, database: str) -> Precondition:
    """Say that there is no such database."""
    text = f"{server.target.where}: there is no database {database!r}, or nothing is in it"
    return Precondition(text, "correct database, or create it")


def _described(server: Server, database: str, found: Mapping[str, Any], names: set[str]) -> Described:
    name, kind = str(found["name"]), str(found.get("type", "collection"))
    options = dict(found.get("options") or {})
    is_view = kind == "view"
    indexes = () if is_view else tuple(_indexes(server, database, name))
    body = f"{BUCKETS}{name}" if kind == "timeseries" and f"{BUCKETS}{name}" in names else name
    told: dict[str, Any] = {"indexes": list(indexes)}
    if options:
        told = {"options": options} | told
    uuid = (found.get("info") or {}).get("uuid")
    if uuid is not None and not is_view:
        told["uuid"] = bytes(uuid).hex() if isinstance(uuid, bytes) else uuid.hex
    told |= {"collectionName": name, "type": kind}
    entry = Entry(database, name, to_json(told), kind)
    return Described(entry, options, indexes, None if is_view else (database, body), str(told.get("uuid", "")))


def _indexes(server: Server, database: str, name: str) -> Iterable[dict[str, Any]]:
    for index in server.listed(database, {"listIndexes": name}):
        index.pop("ns", None)
        yield index


def renamed(before: Iterable[Described], after: Iterable[Described]) -> list[str]:
    """Return new names of collections that had others before: read by name, they were there at neither time."""
    names = {each.entry.collection for each in before}
    known = {each.uuid for each in before if each.uuid}
    return [each.entry.collection for each in after if each.uuid in known and each.entry.collection not in names]


def to_json(document: Mapping[str, Any]) -> str:
    """Return canonical Extended JSON v2: every number keeps its type."""
    from bson import json_util  # noqa: PLC0415 - drivers are imported when used

    return json_util.dumps(document, json_options=json_util.CANONICAL_JSON_OPTIONS)


def from_json(text: str) -> dict[str, Any]:
    """Read it back, in its order. Raises ValueError, TypeError."""
    from bson import json_util  # noqa: PLC0415 - drivers are imported when used
    from bson.codec_options import DatetimeConversion  # noqa: PLC0415

    options = json_util.JSONOptions(
        json_mode=json_util.JSONMode.CANONICAL,
        tz_aware=True,
        datetime_conversion=DatetimeConversion.DATETIME_AUTO,
        document_class=dict,
    )
    found = json_util.loads(text, json_options=options)
    if not isinstance(found, dict):
        raise TypeError("not an object")
    return found


def inventory(found: Iterable[Described]) -> dict[str, int]:
    """Return `$indexes NAME` → how many, and `$views`; nothing for what is not there."""
    counts: dict[str, int] = {}
    for each in found:
        if each.entry.type == "view":
            counts[VIEWS] = counts.get(VIEWS, 0) + 1
        elif each.indexes:
            counts[INDEXES + each.entry.collection] = len(each.indexes)
    return counts
