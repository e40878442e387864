"""The main job as a user meets it: back up, list, restore, compare."""

from __future__ import annotations

import filecmp
import shutil
import sqlite3
from pathlib import Path

from tests.e2e.site import Site, rows_of


def same_tree(one: Path, two: Path) -> bool:
    """Compare two trees by content, links and modes."""
    left = sorted(path.relative_to(one) for path in one.rglob("*"))
    right = sorted(path.relative_to(two) for path in two.rglob("*"))
    return left == right and all(_same(one / path, two / path) for path in left)


def _same(one: Path, two: Path) -> bool:
    if one.is_symlink() or two.is_symlink():
        return one.is_symlink() and two.is_symlink() and one.readlink() == two.readlink()
    if one.is_dir():
        return two.is_dir() and one.stat().st_mode == two.stat().st_mode
    return filecmp.cmp(one, two, shallow=False) and one.stat().st_mode == two.stat().st_mode


def test_comparison_can_fail(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "f").write_bytes(b"12")
    (tmp_path / "b" / "f").write_bytes(b"13")
    assert not same_tree(tmp_path / "a", tmp_path / "b")


def test_backup_list_restore_compare(site: Site) -> None:
    before = rows_of(site.root / "data" / "shop.db")
    run = site.json("backup")
    assert run["result"] == "success"
    points = site.points()
    assert [point["state"] for point in points] == ["committed"]
    target = site.root / "back"
    site.run("restore", "shop", "--latest", "--to", str(target))
    assert rows_of(target / "main.db") == before
    original = site.root / "data" / "files"
    assert same_tree(original, target / "files" / str(original).lstrip("/"))
    assert site.points()[0]["state"] == "restored"


def test_three_restic_processes_and_no_more(site: Site) -> None:
    run = site.json("backup")
    assert run["restic_processes"] == 3  # paths, staged dumps, commit
    assert {frozenset(tag for tag in snapshot["tags"] if tag.startswith("part=")) for snapshot in site.snapshots()} == {
        frozenset({"part=paths"}),
        frozenset({"part=dumps"}),
        frozenset({"part=commit"}),
    }


def test_success_is_silent_without_a_terminal(site: Site) -> None:
    done = site.run("backup")
    assert (done.stdout, done.stderr) == ("", "")


def test_restore_in_place_keeps_the_old(site: Site) -> None:
    site.run("backup")
    database = site.root / "data" / "shop.db"
    before = rows_of(database)
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM orders")
    connection.commit()
    connection.close()
    (site.root / "data" / "files" / "one.txt").write_text("spoilt")
    site.run("restore", "shop", "--latest", "--in-place")
    assert rows_of(database) == before
    assert (site.root / "data" / "files" / "one.txt").read_text() == "one\n"
    kept = [path for path in (site.root / "data").iterdir() if "_before_" in path.name]
    assert len([path for path in kept if path.is_dir()]) == 1
    assert len([path for path in kept if path.name.startswith("shop.db_before_")]) >= 1


def test_catalog_is_rebuilt_from_the_repository_alone(site: Site) -> None:
    site.run("backup")
    before = site.points()
    shutil.rmtree(site.state)
    assert site.points() == []
    site.run("catalog", "rebuild")
    assert [(point["id"], point["time"], point["sources"]) for point in site.points()] == [
        (point["id"], point["time"], point["sources"]) for point in before
    ]


def test_plan_and_dry_run_print_the_same(site: Site) -> None:
    assert site.run("plan").stdout == site.run("backup", "--dry-run").stdout != ""
    assert site.snapshots() == []


def test_one_failing_source_does_not_stop_the_others(site: Site) -> None:
    (site.root / "data" / "shop.db").write_bytes(b"this is no database at all" * 100)
    run = site.json("backup", code=3)
    states = {source["name"]: source["state"] for service in run["services"] for source in service["sources"]}
    assert states == {"main": "failed", "files": "taken"}
    assert [event["name"] for event in run["events"] if event["name"].startswith("run.")] == ["run.partial"]
    assert site.points()[0]["partial"] is True


def test_another_machine_is_refused_until_told(site: Site) -> None:
    site.run("backup")
    done = site.run("backup", code=4, RESGUARDO_MACHINE="machine-two")
    assert "another machine" in done.stderr
    assert "--new-machine" in done.stderr
    site.run("backup", "--new-machine", RESGUARDO_MACHINE="machine-two")


def test_a_service_that_is_gone_keeps_its_points_as_retired(site: Site) -> None:
    site.run("backup")
    site.services("services:\n  other:\n    paths: [data/files]\n")
    site.run("backup")
    assert {point["service"]: point["retired"] for point in site.points()} == {"shop": True, "other": False}
    site.run("prune", code=0)
    assert {point["service"] for point in site.points()} == {"shop", "other"}
