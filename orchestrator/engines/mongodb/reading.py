"""Reading documents as the bytes that the server stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from orchestrator.engines.mongodb.archive import Namespace
from orchestrator.engines.mongodb.connection import Server

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession


def raw(server: Server, where: Namespace, session: ClientSession | None = None, limit: int = 0) -> Iterator[bytes]:
    """Yield a collection's documents in their stored order, some at a time, none decoded. limit: 0 for all.

    Raises the driver's errors.
    """
    from pymongo.errors import InvalidName  # noqa: PLC0415 - drivers are imported when used

    try:
        collection = server.client[where[0]][where[1]]
    except InvalidName:  # servers keep names, such as a..b, that the driver has no object for
        yield from _singly(server, where, session, limit)
        return
    # A cursor is not closed by hand: with a server that is gone that would wait for another one.
    for batch in collection.find_raw_batches({}, session=session, limit=limit):
        yield bytes(cast("bytes", batch))


def _singly(server: Server, where: Namespace, session: ClientSession | None, limit: int) -> Iterator[bytes]:
    from bson.codec_options import CodecOptions  # noqa: PLC0415 - drivers are imported when used
    from bson.raw_bson import RawBSONDocument  # noqa: PLC0415

    find: dict[str, Any] = {"find": where[1]} | ({"limit": limit} if limit else {})
    codec = CodecOptions(document_class=RawBSONDocument)
    database = server.client.get_database(where[0], codec_options=codec)
    for document in database.cursor_command(find, session=session, codec_options=codec):
        yield bytes(cast("RawBSONDocument", document).raw)


def count(server: Server, where: Namespace, limit: float) -> int:
    """Count a collection's documents one by one. Raises as `Server.ask`."""
    database, collection = where
    pipeline = [{"$group": {"_id": None, "n": {"$sum": 1}}}]

    def question() -> int:
        with server.client[database].cursor_command(
            {"aggregate": collection, "pipeline": pipeline, "cursor": {}}
        ) as told:
            return sum(int(each["n"]) for each in told)

    return server.ask(question, limit)
