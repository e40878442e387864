"""Where dumps wait, as the policy says it; and two tiers of one service that are stored at the same time."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.site import Site, rows_of

TIERS = """\
services:
  shop:
    databases:
      main: {engine: sqlite, path: data/shop.db}
      cache: {engine: sqlite, path: data/cache.db, tier: cache}
    paths: [data/files]
"""


def staged(folder: Path) -> list[Path]:
    """Return all files below; unlike a glob, the walk bears folders that go away meanwhile."""
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


def test_dumps_wait_in_the_folder_of_the_policy_and_are_gone_after(site: Site) -> None:
    folder = site.root / "dumps of mine"
    folder.mkdir(mode=0o755)
    (folder / "other").write_text("not ours")
    site.policy(f"staging: {{dir: '{folder}'}}\n")
    site.run("backup", code=-9, RESGUARDO_FAILPOINT="staging.dump.done")
    assert site.quiet_within(20) == []
    assert staged(folder) == [folder / "other"], "a killed run left a dump"
    running, seen = site.start("backup"), set()
    while running.poll() is None:
        seen |= {path.name for path in staged(folder)}
        time.sleep(0.005)
    assert running.returncode == 0
    assert "main.shop%2Edb.db" in seen
    assert staged(folder) == [folder / "other"]
    snapshot = next(each for each in site.snapshots() if "part=dumps" in each["tags"])
    assert [path for path in snapshot["paths"] if path.startswith(f"{folder}/resguardo-")] == snapshot["paths"]
    (private,) = (path for path in folder.iterdir() if path.is_dir())
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    site.run("restore", "shop", "--latest", "--to", str(site.root / "back"))
    assert rows_of(site.root / "back" / "main.db") == rows_of(site.root / "data" / "shop.db")


@pytest.mark.parametrize(
    ("mode", "owner", "said"), [(0o777, 0, "writable by others"), (0o755, 4242, "belongs to user 4242")]
)
def test_a_folder_in_which_others_could_exchange_ours_is_refused(site: Site, mode: int, owner: int, said: str) -> None:
    if owner and os.geteuid():
        pytest.skip("only root can give a folder away")
    folder = site.root / "dumps"
    folder.mkdir()
    folder.chmod(mode)
    if owner:
        os.chown(folder, owner, -1)
    site.policy(f"staging: {{dir: '{folder}'}}\n")
    refused = site.run("backup", code=3)  # the files need no staging
    assert said in refused.stderr
    assert "staging.dir" in refused.stderr, "the hint names what to change"
    assert staged(folder) == []
    assert not [each for each in site.snapshots() if "part=dumps" in each["tags"]]


def test_two_tiers_of_one_service_side_by_side_are_both_whole(site: Site) -> None:
    text = (site.root / "policy.yml").read_text().replace("  default:", "  cache: {last: 2}\n  default:")
    (site.root / "policy.yml").write_text(text)
    site.services(TIERS)
    with closing(sqlite3.connect(site.root / "data" / "cache.db")) as database, database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT NOT NULL, blob BLOB)")
        database.executemany("INSERT INTO orders (what) VALUES (?)", [(f"cached {n}",) for n in range(50)])
    site.run("backup")
    points = {point["tier"]: point for point in site.points()}
    assert {tier: point["partial"] for tier, point in points.items()} == {"default": False, "cache": False}
    held = {tier: [source["name"] for source in point["sources"]] for tier, point in points.items()}
    assert held == {"default": ["main", "files"], "cache": ["cache"]}
    for tier, point in points.items():
        ours = [each for each in site.snapshots() if f"tier={tier}" in each["tags"]]
        assert len(ours) == (3 if tier == "default" else 2)
        site.run("verify", "--point", point["id"])
    back = site.root / "back"
    site.run("restore", "shop", "--latest", "--to", str(back))
    for name, original in (("main", "shop.db"), ("cache", "cache.db")):
        assert rows_of(back / f"{name}.db") == rows_of(site.root / "data" / original)
