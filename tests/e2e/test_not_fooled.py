"""What tries to make a green line out of nothing, and to lose good data: each was done to the program once."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing

from tests.e2e.site import Site, rows_of


def plain_restic(site: Site, *args: str) -> None:
    subprocess.run(
        [site.restic, "-r", str(site.root / "repository"), "--password-file", str(site.root / "key"), *args],
        env={"PATH": os.environ["PATH"], "RESTIC_CACHE_DIR": str(site.root / "plain-cache")},
        capture_output=True,
        timeout=60,
        check=True,
    )


def keep(site: Site, rules: str, more: str = "") -> None:
    text = (site.root / "policy.yml").read_text()
    (site.root / "policy.yml").write_text(text.replace("last: 7, daily: 30", rules) + more)


def test_a_run_of_files_only_is_no_whole_point(site: Site) -> None:
    site.run("backup")
    whole = site.points()[0]["id"]
    site.run("backup", "--only", "files")
    newest, older = site.points()
    assert (newest["partial"], older["partial"]) == (True, False)
    site.run("restore", "shop", "--latest", "--to", str(site.root / "back"))
    assert rows_of(site.root / "back" / "main.db") == rows_of(site.root / "data" / "shop.db")
    keep(site, "last: 1")
    site.run("prune", "--force")
    assert whole in [point["id"] for point in site.points()]


def test_the_guard_knows_a_repositorys_own_rules(site: Site) -> None:
    own = "password: {file: key}, retention: {default: {last: %d}}"
    text = (site.root / "policy.yml").read_text()
    (site.root / "policy.yml").write_text(text.replace("password: {file: key}", own % 50))
    for _ in range(4):
        site.run("backup")
    site.run("prune")
    (site.root / "policy.yml").write_text(text.replace("password: {file: key}", own % 1))
    done = site.run("prune", code=1)
    assert "max_forget" in done.stderr
    assert len(site.points()) == 4


def test_steady_ageing_never_brakes(site: Site) -> None:
    keep(site, "last: 1")
    for _ in range(2):
        site.run("backup")
    site.run("prune", code=1)  # the rules are newer than the repository's
    site.run("prune", "--force")
    for _ in range(2):
        site.run("backup")
    site.run("prune")
    assert len(site.points()) == 1
    for _ in range(2):
        site.run("backup")
    shutil.rmtree(site.state)  # nor when only the repository knows which rules ran
    site.run("catalog", "rebuild")
    site.run("prune")
    assert len(site.points()) == 1


def test_a_point_without_its_snapshots_is_not_listed_as_good(site: Site) -> None:
    site.run("backup")
    site.run("backup")
    newest, older = site.points()
    plain_restic(site, "forget", *{source["snapshot"] for source in newest["sources"]})
    assert newest["id"] in site.run("catalog", "rebuild", code=3).stderr
    listed = {point["id"]: point["damaged"] for point in site.points()}
    assert listed == {newest["id"]: True, older["id"]: False}
    assert site.run("status", code=1)
    keep(site, "last: 1")
    site.run("prune", "--force")
    assert older["id"] in [point["id"] for point in site.points()], "the good one went, the hollow one stayed"


def test_damage_is_not_forgotten_by_a_quick_look(site: Site) -> None:
    site.run("backup")
    pack = max(
        (path for path in (site.root / "repository" / "data").rglob("*") if path.is_file()),
        key=lambda p: p.stat().st_size,
    )
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    site.run("verify", "--data", "all", code=1)
    site.run("verify", "--quick", code=None)
    site.run("status", code=1)
    assert site.run("backup", code=None).returncode in (1, 3)
    assert "damaged" in site.run("prune", code=1).stderr


def test_an_emptied_source_is_not_whole(site: Site) -> None:
    site.run("backup")
    shutil.rmtree(site.root / "data" / "files")
    (site.root / "data" / "files").mkdir()
    site.run("backup", code=3)
    assert site.points()[0]["partial"] is True


def test_in_place_never_swaps_what_we_stand_on(site: Site) -> None:
    site.services(f"services:\n  everything:\n    paths: ['{site.root}']\n")
    site.run("backup")
    done = site.run("restore", "everything", "--latest", "--in-place", code=4)
    assert "cannot be swapped" in done.stderr
    assert (site.root / "repository" / "config").exists()
    site.run("backup")


def test_in_place_swaps_nothing_when_one_part_cannot_be(site: Site) -> None:
    site.run("backup")
    (site.root / "data" / "files" / "one.txt").write_text("newer")
    with closing(sqlite3.connect(site.root / "data" / "shop.db")) as held:
        held.execute("SELECT count(*) FROM orders").fetchone()
        site.run("restore", "shop", "--latest", "--in-place", code=None)
    assert (site.root / "data" / "files" / "one.txt").read_text() == "newer"
    assert not [path for path in (site.root / "data").iterdir() if ".restoring-" in path.name]


def test_a_forged_manifest_writes_nothing_outside(site: Site) -> None:
    site.run("backup")
    commit = next(snapshot for snapshot in site.snapshots() if "part=commit" in snapshot["tags"])
    manifest = site.restic_json("dump", commit["id"], "/manifest.json")
    manifest["sources"][0]["name"] = "../../evil"
    forged = site.root / "manifest.json"
    forged.write_text(json.dumps(manifest))
    run = manifest["run"][:-6] + "ffffff"
    manifest["run"] = run
    manifest["point"] = f"shop.default@{run}"
    forged.write_text(json.dumps(manifest))
    tags = [
        "--tag",
        "resguardo",
        "--tag",
        "v=1",
        "--tag",
        "service=shop",
        "--tag",
        "tier=default",
        "--tag",
        f"run={run}",
    ]
    with forged.open("rb") as stream:
        subprocess.run(
            [
                site.restic,
                "-r",
                str(site.root / "repository"),
                "--password-file",
                str(site.root / "key"),
                "backup",
                "--host",
                "test-host",
                *tags,
                "--tag",
                "part=commit",
                "--stdin",
                "--stdin-filename",
                "manifest.json",
            ],
            stdin=stream,
            env={"PATH": os.environ["PATH"], "RESTIC_CACHE_DIR": str(site.root / "plain-cache")},
            capture_output=True,
            timeout=60,
            check=True,
        )
    done = site.run("catalog", "rebuild", code=3)
    assert "is no name" in done.stderr
    assert len(site.points()) == 1
