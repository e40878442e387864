"""What a user meets when something is wrong: exit code, message and hint of each."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import Site


def said(site: Site, code: int, *words: str, command: tuple[str, ...] = ("backup",)) -> str:
    """Run a command that must fail with `code` and say all of `words` and a hint."""
    done = site.run(*command, code=code)
    for word in words:
        assert word in done.stderr, done.stderr
    assert "HINT:" in done.stderr, done.stderr
    assert done.stderr.count("Traceback") == 0
    return done.stderr


def one_run_event(site: Site, name: str) -> None:
    connection = sqlite3.connect(site.state / "catalog.db")
    names = [row[0] for row in connection.execute("SELECT name FROM event WHERE name LIKE 'run.%' ORDER BY id")]
    connection.close()
    assert names == ["run.succeeded", name]  # the first is that of `init`


def test_wrong_password(site: Site) -> None:
    (site.root / "key").write_text("not the key\n")
    said(site, 4, "password")
    one_run_event(site, "run.failed")


def test_missing_repository(site: Site) -> None:
    shutil.rmtree(site.root / "repository")
    said(site, 4, "repository", "resguardo init")
    assert not (site.root / "repository").exists(), "a repository was created by accident"


def test_a_job_that_is_no_backup(site: Site) -> None:
    site.policy('jobs: {tidy: {at: "@daily", do: prune}}')
    said(site, 2, "the job 'tidy' does prune, not backup", command=("backup", "--job", "tidy"))
    one_run_event(site, "run.refused")


def test_a_key_that_was_never_made(site: Site) -> None:
    (site.root / "key").unlink()
    said(site, 4, f"the key file {site.root}/key does not exist", "resguardo init")


def test_a_policy_that_is_not_there_leaves_nothing_behind(site: Site, tmp_path: Path) -> None:
    site.env["RESGUARDO_STATE"] = str(tmp_path / "never-used")
    said(site, 2, "no such file", command=("-c", str(site.root / "policy.yaml"), "backup"))
    assert not (tmp_path / "never-used").exists()


def test_a_folder_means_the_policy_in_it(site: Site) -> None:
    assert str(site.root / "policy.yml") in site.run("-v", "-c", str(site.root), "validate").stdout


def test_missing_path(site: Site) -> None:
    shutil.rmtree(site.root / "data" / "files")
    said(site, 3, "data/files")
    assert site.points()[0]["partial"] is True


def test_missing_database_is_never_an_empty_dump(site: Site) -> None:
    for leftover in (site.root / "data").glob("shop.db*"):
        leftover.unlink()
    said(site, 3, "shop.db")
    assert not (site.root / "data" / "shop.db").exists()


def test_key_readable_by_others(site: Site) -> None:
    (site.root / "key").chmod(0o644)
    said(site, 4, "key", "chmod")


def test_bad_policy(site: Site) -> None:
    site.policy("nonsense: 1\n")
    done = site.run("backup", code=2)
    assert "policy.yml:" in done.stderr
    assert "nonsense" in done.stderr


def test_unknown_service(site: Site) -> None:
    said(site, 2, "no such service", command=("backup", "shopp"))


def test_old_restic(site: Site) -> None:
    old = site.root / "restic"
    old.write_text("#!/bin/sh\necho 'restic 0.14.0 compiled with go1.19.8 on linux/amd64'\n")
    old.chmod(0o755)
    site.restic = str(old)
    site.policy()
    said(site, 4, "0.14.0", "0.18")


def test_no_restic(site: Site) -> None:
    site.restic = "/nonexistent/restic"
    site.policy()
    said(site, 4, "/nonexistent/restic")


def test_locked_repository_blocks_retention_and_is_said(site: Site) -> None:
    site.run("backup")
    # A live exclusive lock of somebody else: restic stopped in the middle of a prune's wait for input cannot be had,
    # so a stopped backup holds a shared lock, which is what keeps retention out.
    holder = subprocess.Popen(
        [
            site.restic,
            "-r",
            str(site.root / "repository"),
            "--password-file",
            str(site.root / "key"),
            "backup",
            "--stdin",
            "--stdin-filename",
            "x",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "RESTIC_CACHE_DIR": str(site.root / "other-cache")},
    )
    try:
        locks = site.root / "repository" / "locks"
        while not any(locks.iterdir()):
            assert holder.poll() is None
        text = (site.root / "policy.yml").read_text().replace("ionice: null}", "ionice: null, retry_lock: 1s}")
        (site.root / "policy.yml").write_text(text)
        site.run("backup")
        done = site.run("prune", "--force", code=11)
        assert "lock" in done.stderr
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()


def test_a_dead_strangers_lock_is_told_at_once_and_removed_on_demand(site: Site) -> None:
    options = ["-r", str(site.root / "repository"), "--password-file", str(site.root / "key")]
    with subprocess.Popen(
        [site.restic, *options, "backup", "--stdin", "--stdin-filename", "x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "RESTIC_CACHE_DIR": str(site.root / "other-cache")},
    ) as holder:
        while not any(len(name) == 64 for name in os.listdir(site.root / "repository" / "locks")):
            assert holder.poll() is None
        holder.kill()
    gone = f"PID {holder.pid} on "
    began = time.monotonic()
    said(site, 11, gone, "that process is not running on this machine", "recover --unlock", command=("prune",))
    assert time.monotonic() - began < 60, "the policy allows five minutes of waiting"
    left = site.run("recover").stdout
    assert left.startswith("left alone: repository local is locked by")
    assert gone in left
    assert "none of our journal's" in left
    assert [event["name"] for event in site.json("recover", "--unlock")["locks"]] == ["lock.removed"]
    site.run("prune")


def test_two_runs_at_once(site: Site) -> None:
    first = site.start("backup")
    try:
        lock = site.state / "run.lock"
        while not lock.exists() or not lock.read_bytes():
            assert first.poll() is None
        second = site.run("backup", code=None)
        if first.poll() is None:
            assert second.returncode == 11
            assert "HINT:" in second.stderr
    finally:
        assert first.wait(60) == 0


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("sftp://nobody@127.0.0.1:9//x", id="sftp"),
        # restic goes on asking a server that refuses, and is given a minute
        pytest.param("rest:http://127.0.0.1:9/", id="rest", marks=pytest.mark.slow),
    ],
)
def test_unreachable_server(site: Site, url: str) -> None:
    text = (site.root / "policy.yml").read_text().replace("url: repository", f"url: '{url}'")
    (site.root / "policy.yml").write_text(text)
    said(site, 4, "127.0.0.1:9")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("impossible here: mounting is not allowed, and so no disk is full")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_repository_disk(site: Site, small_disk: Path) -> None:
    shutil.move(site.root / "repository", small_disk / "repository")
    text = (site.root / "policy.yml").read_text().replace("url: repository", f"url: {small_disk}/repository")
    (site.root / "policy.yml").write_text(text)
    site.run("backup")
    (small_disk / "ballast").write_bytes(b"x" * (30 << 20))
    said(site, 4, "less than 67108864 bytes free at", "make room, or run resguardo prune")
    (small_disk / "ballast").unlink()
    (site.root / "data" / "files" / "big").write_bytes(os.urandom(120 << 20))
    said(
        site, 3, "shop/files failed: no space left for restic backup on repository local", "make room on the disk named"
    )
    assert len([point for point in site.points() if not point["partial"]]) == 1
    (site.root / "data" / "files" / "big").unlink()
    site.run("prune", "--force", code=None)
    site.run("backup")


def test_full_temporary_place(site: Site, small_disk: Path) -> None:
    policy = site.root / "policy.yml"  # what fails must not take the last room from what runs beside it
    policy.write_text(re.sub("^parallel: .*$", "parallel: 1", policy.read_text(), flags=re.MULTILINE))
    assert "parallel: 1\n" in policy.read_text()
    site.run("backup")
    (small_disk / "ballast").write_bytes(b"x" * (68 << 20))
    shutil.move(site.state, small_disk.parent / "moved-state")
    (site.root / "data" / "files" / "big").write_bytes(os.urandom(20 << 20))
    site.env["RESGUARDO_STATE"] = str(small_disk / "state")
    temporary = f"{small_disk}/state/cache/tmp/restic-temp-pack-"
    failed = "shop/files failed: no space left for restic backup on repository local"
    said(site, 3, failed, temporary, "or on that of the temporary directory")
    assert [point["partial"] for point in site.points()] == [True, False]


def test_one_of_several_paths_that_lost_its_content_makes_the_point_partial(site: Site) -> None:
    mount = site.root / "data" / "mount"
    mount.mkdir()
    empty = site.root / "data" / "empty"
    empty.mkdir()
    (mount / "photo").write_text("much")
    site.services(f"services:\n  shop:\n    paths: [{site.root}/data/files, {mount}, {empty}]\n")
    site.run("backup")
    (mount / "photo").unlink()
    told = site.run("backup", code=3).stderr
    assert f"shop/files partial: '{mount}': is empty, and was not before; is it not mounted?" in told
    assert f"'{empty}': is empty, and" not in told
    site.run("backup", code=3)
    (mount / ".keep").touch()
    site.run("backup")
    assert [point["partial"] for point in site.points()] == [False, True, True, False]


def test_a_missing_path_costs_nothing_but_itself(site: Site) -> None:
    files = site.root / "data" / "files"
    site.services(f"services:\n  shop:\n    paths: [{files}/folder, {files}/.env, {files}/one.txt]\n")
    assert ".env': no such file or directory" in site.run("doctor", code=None).stdout
    told = site.run("backup", code=3).stderr
    assert f"shop/files partial: '{files}/.env': no such file or directory" in told
    assert "HINT: correct the path" in told
    (point,) = site.points()
    assert point["partial"]
    site.run("restore", "shop", "--latest", "--to", str(site.root / "back"), code=3)
    assert (site.root / "back" / "files" / str(files).lstrip("/") / "one.txt").read_text() == "one\n"
    site.services(f"services:\n  shop:\n    paths: [{files}/.env]\n")
    said(site, 4, "no such file or directory")
