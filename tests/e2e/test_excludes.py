"""A user's excludes never cost a dump or a manifest, and what is ours is never in a backup of paths."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.site import Site, rows_of

HARMFUL = """\
services:
  shop:
    databases:
      main: {engine: sqlite, path: data/shop.db}
    paths: [data/files]
    exclude: ["*.json", "*.sql", "*.db", "cache/", "/dev", "/run", "staging", "main.*", "manifest.json", "shop"]
    exclude_larger_than: 100B
    exclude_if_present: [".nobackup"]
    exclude_caches: true
"""


def test_harmful_excludes_cost_no_dump_and_no_manifest(site: Site) -> None:
    before = rows_of(site.root / "data" / "shop.db")
    site.services(HARMFUL)
    (site.root / "data" / "files" / "big.txt").write_bytes(b"x" * 5000)
    site.run("backup")
    point = site.points()[0]
    assert point["partial"] is False
    site.run("restore", "shop", "--latest", "--to", str(site.root / "back"))
    assert rows_of(site.root / "back" / "main.db") == before
    restored = site.root / "back" / "files" / str(site.root / "data" / "files").lstrip("/")
    assert (restored / "one.txt").exists()
    assert not (restored / "big.txt").exists()


def size_of(folder: Path) -> int:
    return int(subprocess.run(["du", "-sb", str(folder)], capture_output=True, text=True, check=True).stdout.split()[0])


def test_a_source_above_the_repository_does_not_grow_by_itself(site: Site) -> None:
    site.services(f"services:\n  everything:\n    paths: ['{site.root}']\n")
    site.run("backup")
    sizes = []
    for _ in range(3):
        site.run("backup")
        sizes.append(size_of(site.root / "repository"))
    assert sizes[2] - sizes[0] < 60_000, sizes
    listed = subprocess.run(
        [
            site.restic,
            "-r",
            str(site.root / "repository"),
            "--password-file",
            str(site.root / "key"),
            "--no-lock",
            "ls",
            "latest",
            "--tag",
            "part=paths",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"RESTIC_CACHE_DIR": str(site.root / "plain-cache"), "PATH": "/usr/bin"},
    ).stdout
    assert f"{site.root}/data/files/one.txt" in listed
    assert f"{site.root}/repository/config" not in listed
    assert f"{site.state}/catalog.db" not in listed


def test_it_is_said_what_is_left_out(site: Site) -> None:
    site.services(f"services:\n  everything:\n    paths: ['{site.root}']\n")
    plan = site.run("plan").stdout
    assert "the repository" in plan
    assert str(site.root / "repository") in plan


def test_the_live_database_is_not_among_the_files(site: Site) -> None:
    site.services(
        "services:\n  shop:\n    databases:\n      main: {engine: sqlite, path: data/shop.db}\n    paths: [data]\n"
    )
    site.run("backup")
    site.run("restore", "shop", "--latest", "--to", str(site.root / "back"))
    tree = site.root / "back" / "files" / str(site.root / "data").lstrip("/")
    assert (tree / "files" / "one.txt").exists()
    assert not list(tree.glob("shop.db*"))


def test_a_database_behind_a_link_is_not_among_the_files_under_any_name(site: Site) -> None:
    (site.root / "data" / "real").mkdir()
    link, real = site.root / "data" / "shop.db", site.root / "data" / "real" / "real.db"
    for companion in ("-wal", "-shm"):
        Path(f"{link}{companion}").unlink(missing_ok=True)
    link.rename(real)
    link.symlink_to("real/real.db")
    site.services(
        "services:\n  shop:\n    databases:\n      main: {engine: sqlite, path: data/shop.db}\n    paths: [data]\n"
    )
    said = site.run("plan").stdout
    for name in ("real/real.db", "real/real.db-wal", "real/real.db-shm", "shop.db-wal"):
        assert f"left out: {site.root}/data/{name} (dumped as a database)" in said
