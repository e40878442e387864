"""MongoDB from the command line: stored, listed, brought back beside the original, never in its place."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engines.mongodb.archive import Entry, Reader, block, prelude
from tests.e2e.site import Site
from tests.engines.servers.mongodb import PASSWORD, ROOT, MongoServer
from tests.engines.test_mongodb import drop_all, fill


@pytest.fixture(scope="module")
def server() -> Iterator[MongoServer]:
    with MongoServer() as made:
        yield made


@pytest.fixture
def shop(server: MongoServer) -> Iterator[MongoServer]:
    with server.client() as client:
        fill(client.shop)
        client.empty_nearly.things.insert_one({"_id": 1})
    yield server
    drop_all(server)


def configure(site: Site, server: MongoServer, **keys: str) -> None:
    given = {"engine": "mongodb", "host": "127.0.0.1", "port": str(server.port)} | keys
    text = ", ".join(f"{key}: {value}" for key, value in given.items())
    site.services(f"services:\n  shop:\n    databases:\n      main: {{{text}}}\n")


def items(run: Any) -> dict[str, Any]:
    return {item["name"]: item for item in run["services"][0]["sources"][0]["items"]}


def test_stored_and_brought_back_beside(site: Site, shop: MongoServer) -> None:
    configure(site, shop)
    taken = items(site.json("backup"))
    assert {"shop", "empty_nearly"} <= set(taken)
    assert taken["shop"]["counts"]["customer"] == 200
    assert taken["shop"]["counts_exact"]
    with shop.client() as client:
        client.shop.customer.delete_many({})
    refused = site.run("restore", "shop", "--latest", "--in-place", code=4)
    assert "cannot rename a database" in refused.stderr
    done = site.json("restore", "shop", "--latest")
    assert done["result"] == "success"
    back = {item["item"]: item["target"] for item in done["items"]}
    assert site.points()[0]["state"] == "restored"
    with shop.client() as client:
        assert client[back["shop"]].customer.count_documents({}) == 200
        assert client.shop.customer.count_documents({}) == 0
    assert site.plaintext() == []


def test_the_stored_file_is_the_archive(site: Site, shop: MongoServer) -> None:
    """Without Resguardo, restic gives the archive that mongorestore reads; here our reader does."""
    configure(site, shop, database="shop", globals="false")
    site.json("backup")
    point = site.points()[0]
    (source,) = point["sources"]
    argv = [site.restic, "-r", str(site.root / "repository"), "--password-file", str(site.root / "key"), "--no-lock"]
    done = subprocess.run(
        [*argv, "dump", source["snapshot"], source["path"]],
        env={"PATH": os.environ["PATH"], "RESTIC_CACHE_DIR": str(site.root / "plain-cache")},
        capture_output=True,
        check=True,
        timeout=60,
    )
    reader = Reader()
    reader.feed(done.stdout)
    reader.close()
    assert {name[1]: n for _, name, n in reader.counts()}["customer"] == 200


def test_a_dump_that_is_cut_makes_no_point(site: Site, shop: MongoServer, tmp_path: Path) -> None:
    """A program that ends well after half of an archive: nothing tells it but the archive itself."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "mongodump"
    script.write_text("#!/bin/sh\ncase $1 in --version) echo 'mongodump version: 1';; *) cat \"$0.part\";; esac\n")
    script.chmod(0o755)
    part = prelude([Entry("shop", "customer", "{}")], "8", "x") + block(("shop", "customer")) + b"\x05\0\0\0\0" * 999
    Path(f"{script}.part").write_bytes(part + b"\xff" * 4)
    configure(site, shop, database="shop", globals="false", tools=str(tmp_path / "bin"))
    told = site.run("backup", code=None)
    assert told.returncode not in {0, 3}
    assert "1 collections are not complete, the first is 'customer'" in told.stdout + told.stderr
    assert site.points() == []


def test_with_a_password(site: Site) -> None:
    with MongoServer(auth=True) as guarded:
        with guarded.client(login=True) as client:
            fill(client.shop)
            before = content_of(guarded)
        (site.root / "secret").write_text(PASSWORD)
        (site.root / "secret").chmod(0o600)
        configure(site, guarded, database="shop", user=ROOT, password="{file: secret}")
        assert "users and roles" not in site.run("doctor", code=None).stdout
        site.json("backup")
        done = site.json("restore", "shop", "--latest", "--as", "back", "--globals")
        assert {item["item"] for item in done["items"]} == {"globals", "shop"}
        assert content_of(guarded, "back") == before


def content_of(server: MongoServer, name: str = "shop") -> int:
    with server.client(login=True) as client:
        return sum(client[name][each].count_documents({}) for each in ("customer", "account", "capped", "measure"))
