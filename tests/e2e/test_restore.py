"""Restores as a user meets them: what is printed, and what is left behind."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

from tests.e2e.site import Site, rows_of


def test_a_pattern_without_a_match_leaves_nothing_and_names_a_way_to_see_paths(site: Site) -> None:
    done = site.run("backup")
    to = site.root / "new" / "back"
    want = ("restore", "shop", "--source", "files", "--latest", "--to", str(to), "--include")
    done = site.run(*want, "/no such/path", code=1)
    assert "matches --include /no such/path" in done.stderr
    assert not (site.root / "new").exists()
    hint = next(line for line in done.stderr.splitlines() if "what there is: " in line)
    words = shlex.split(hint.partition("what there is: ")[2])
    listed = subprocess.run(
        [site.restic, *words[1:]],
        env={"PATH": os.environ["PATH"], "RESTIC_CACHE_DIR": str(site.root / "plain-cache")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    paths = [line for line in listed.stdout.splitlines() if line.startswith(str(site.root / "data" / "files"))]
    file = next(path for path in paths if os.path.isfile(path) and not os.path.islink(path))

    (item,) = site.json(*want, file)["items"]
    assert item["bytes"] == os.path.getsize(file)
    assert (to / "files" / file.lstrip("/")).exists()


def test_in_place_of_nothing_keeps_nothing_and_says_so(site: Site) -> None:
    site.run("backup")
    os.chmod(site.root / "data" / "shop.db", 0o640)
    site.run("backup")
    for name in ("shop.db", "shop.db-wal", "shop.db-shm"):
        (site.root / "data" / name).unlink(missing_ok=True)
    wish = ("restore", "shop", "--source", "main", "--latest", "--in-place")
    told = site.run(*wish, "--dry-run").stdout
    assert "nothing is there now" in told
    assert "_before_" not in told
    site.run(*wish)
    assert (site.root / "data" / "shop.db").stat().st_mode & 0o7777 == 0o640


def test_a_whole_folder_comes_back_with_the_database_in_it(site: Site) -> None:
    """The layout of docs/databases/sqlite.md: the database's file lies in the service's own paths."""
    data = site.root / "data"
    site.services(
        "services:\n  shop:\n    databases: {main: {engine: sqlite, path: data/shop.db}}\n    paths: [data]\n"
    )
    site.run("backup")
    rows = rows_of(data / "shop.db")
    refused = site.run("restore", "shop", "--latest", "--in-place", "--dry-run", code=4).stderr
    assert "shop.db (the database shop/main) lies in it" in refused

    shutil.rmtree(data)
    alone = ("restore", "shop", "--source", "main", "--latest", "--in-place", "--dry-run")
    assert "leave out --source" in site.run(*alone, code=4).stderr
    told = site.run("restore", "shop", "--latest", "--in-place", "--dry-run").stdout
    assert told.count("nothing is there now") == 2
    assert not data.exists()
    site.run("restore", "shop", "--latest", "--in-place")
    assert rows_of(data / "shop.db") == rows
    assert (data / "files" / "one.txt").read_text() == "one\n"
    assert not [path.name for path in site.root.iterdir() if "restoring" in path.name or "_before_" in path.name]

    for name in ("shop.db", "shop.db-wal", "shop.db-shm"):
        (data / name).unlink(missing_ok=True)
    (data / "files" / "one.txt").write_text("newer\n")
    site.run("restore", "shop", "--latest", "--in-place")
    assert rows_of(data / "shop.db") == rows
    (kept,) = site.root.glob("data_before_*")
    assert (kept / "files" / "one.txt").read_text() == "newer\n"


def test_the_kept_original_in_backed_up_paths_is_spoken_of(site: Site) -> None:
    site.services(
        "services:\n  shop:\n    databases: {main: {engine: sqlite, path: data/shop.db}}\n    paths: [data]\n"
    )
    site.run("backup")
    (item,) = site.json("restore", "shop", "--source", "main", "--latest", "--in-place")["items"]
    (note,) = item["findings"]
    assert (
        note["message"]
        == f"{item['kept']!r} lies in the paths of shop/files, and is backed up with them until it is removed"
    )
    subprocess.run(["sh", "-ec", note["hint"].partition(": ")[2]], check=True)
    assert not os.path.lexists(item["kept"])


def test_a_restore_that_fails_at_the_password_leaves_nothing(site: Site) -> None:
    site.run("backup")
    (site.root / "key").write_text("not the key\n")
    site.run("restore", "shop", "--latest", "--to", str(site.root / "new" / "back"), code=4)
    assert not (site.root / "new").exists()


def test_letters_of_patterns_are_escaped_in_include(site: Site) -> None:
    name = "a[1]*?.txt"
    (site.root / "data" / "files" / name).write_text("odd\n")
    site.run("backup")
    want = ("restore", "shop", "--source", "files", "--latest", "--to", str(site.root / "back"), "--include")
    assert r"\[ are the letters" in site.run(*want, name, code=1).stderr
    (item,) = site.json(*want, r"a\[1\]\*\?.txt")["items"]
    assert item["bytes"] == 4
