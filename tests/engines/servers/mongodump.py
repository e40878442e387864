"""A stand-in for mongodump, where that cannot be installed: its arguments and archive, by code of its own.

It knows what Resguardo passes to mongodump and refuses everything else. Unlike Resguardo's own writer it describes
collections in reverse and lets the blocks of several alternate, as mongodump does.
"""

from __future__ import annotations

import argparse
import json
import lzma
import struct
import sys
from pathlib import Path
from typing import Any

import bson
import pymongo
from bson import json_util
from pymongo.errors import PyMongoError

TERM = b"\xff\xff\xff\xff"


def crc64(data: bytes) -> int:
    """By the container format: an .xz file of one block ends in its data's CRC-64, before the index and footer."""
    packed = lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC64, preset=0)
    footer = 12
    (backward,) = struct.unpack("<I", packed[-8:-4])
    index = (backward + 1) * 4
    place = len(packed) - footer - index
    if not data:
        return 0
    return int(struct.unpack("<q", packed[place - 8 : place])[0])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--archive", action="store_true", required=True)
    parser.add_argument("--db", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--numParallelCollections", required=True)
    parser.add_argument("--readPreference", required=True)
    for name in ("--username", "--authenticationDatabase", "--config"):
        parser.add_argument(name)
    return parser.parse_args()


def connect(given: argparse.Namespace) -> pymongo.MongoClient[Any]:
    more = {}
    if given.username:
        line = Path(given.config).read_text().strip()
        more["password"] = json.loads(line.removeprefix("password: "))
        more |= {"username": given.username, "authSource": given.authenticationDatabase}
    return pymongo.MongoClient(given.host, directConnection=True, serverSelectionTimeoutMS=5000, **more)


def described(database: Any, each: Any) -> Any:
    view = each["type"] == "view"
    indexes = [] if view else list(database.cursor_command({"listIndexes": each["name"]}))
    metadata = {"options": each["options"], "indexes": indexes} | ({} if view else {"uuid": each["info"]["uuid"].hex()})
    metadata |= {"collectionName": each["name"], "type": each["type"]}
    text = json_util.dumps(metadata, json_options=json_util.CANONICAL_JSON_OPTIONS)
    return {"db": database.name, "collection": each["name"], "metadata": text, "size": 0, "type": each["type"]}


def header(database: str, name: str, crc: int, *, last: bool) -> bytes:
    return bson.encode({"db": database, "collection": name, "EOF": last, "CRC": bson.Int64(crc)})


def main() -> None:
    given = arguments()
    out = sys.stdout.buffer
    with connect(given) as client:
        database = client[given.db]
        listed = [x for x in reversed(list(database.list_collections())) if not x["name"].startswith("system.")]
        out.write(b"\x6d\xe2\x99\x81")
        version = client.server_info()["version"]
        out.write(
            bson.encode(
                {"concurrent_collections": 1, "version": "0.1", "server_version": version, "tool_version": "0.0.1"}
            )
        )
        out.writelines(bson.encode(described(database, each)) for each in listed)
        out.write(TERM)
        names = [each["name"] for each in listed if each["type"] != "view"]
        raw = client.get_database(given.db, codec_options=RAW)
        finds = {name: raw.cursor_command({"find": name}, codec_options=RAW) for name in names}
        bodies = {name: [bytes(document.raw) for document in found] for name, found in finds.items()}
        for half in (0, 1):
            for name, documents in bodies.items():
                middle = len(documents) // 2
                part = b"".join(documents[middle:] if half else documents[:middle])
                if part:
                    out.write(header(given.db, name, 0, last=False) + part + TERM)
        for each in listed:
            name = each["name"]
            out.write(header(given.db, name, crc64(b"".join(bodies.get(name, []))), last=True) + TERM)
        out.flush()


RAW = bson.codec_options.CodecOptions(document_class=bson.raw_bson.RawBSONDocument)

if __name__ == "__main__":
    if "--version" in sys.argv:
        print("mongodump version: 0.0.1\ngit version: none")
        sys.exit(0)
    try:
        main()
    except PyMongoError as problem:
        sys.stderr.write(f"2026-11-21T00:00:00.000+0000\tFailed: {problem}\n")
        sys.exit(1)
