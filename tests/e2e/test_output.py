"""Who reads our output may go away, and the disk behind it may be full: the work and its exit code stand."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from orchestrator.cli.main import _policy_of
from tests.e2e.site import Site


def piped(site: Site, *args: str, stdout: int | None = None) -> tuple[int, str]:
    """Run a command whose stdout is a pipe that nobody reads any more, or `stdout`; return exit code and stderr."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            site.argv(*args),
            env=site.environment(),
            stdout=write if stdout is None else stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=110,
            check=False,
            cwd="/",
        )
    finally:
        os.close(write)
    return done.returncode, done.stderr


def test_a_reader_that_went_away_changes_no_exit_code(site: Site) -> None:
    assert piped(site, "-v", "backup") == (0, "")
    assert piped(site, "--json", "backup") == (0, "")
    assert piped(site, "list") == (0, "")
    assert piped(site, "schema", "policy") == (0, "")
    (site.root / "data" / "shop.db").write_bytes(b"no database" * 100)
    code, said = piped(site, "--json", "backup")
    assert (code, "Traceback" in said) == (3, False)
    assert len(site.points()) == 3


def test_a_restore_goes_on_without_a_reader(site: Site) -> None:
    site.run("backup")
    assert piped(site, "restore", "shop", "--latest", "--to", str(site.root / "back")) == (0, "")
    assert (site.root / "back" / "main.db").exists()


def test_output_that_finds_no_room_is_said(site: Site) -> None:
    site.run("backup")
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        for words in (("list",), ("--json", "list"), ("schema", "policy")):
            code, said = piped(site, *words, stdout=full)
            assert code == 1
            assert said == "resguardo: the output cannot be written: no space left on device\n"
    finally:
        os.close(full)


def test_closed_descriptors_end_nothing(site: Site) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *site.argv("backup")],
        env=site.environment(),
        timeout=110,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0
    assert len(site.points()) == 1


def test_the_lock_says_which_command_holds_it(site: Site) -> None:
    lock = site.state / "run.lock"
    run = site.start("backup")
    try:
        while not (text := lock.read_bytes() if lock.exists() else b""):
            assert run.poll() is None
        assert json.loads(text)["command"] == "backup"
    finally:
        assert run.wait(60) == 0


@pytest.mark.parametrize(
    ("words", "policy"),
    [
        (["-c", "a b.yml", "backup"], "a b.yml"),
        (["-ca.yml", "backup"], "a.yml"),
        (["-vvc", "a.yml", "backup"], "a.yml"),
        (["--config", "a.yml", "list"], "a.yml"),
        (["--json", "--config=a=b.yml", "list"], "a=b.yml"),
        (["-c", "a.yml", "-c", "b.yml", "list"], "b.yml"),
        (["list", "-c", "a.yml"], "policy.yml"),
        (["-c"], "policy.yml"),
        (["backup"], "policy.yml"),
    ],
)
def test_the_policy_among_the_words(words: list[str], policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESGUARDO_POLICY", raising=False)
    assert _policy_of(words) == policy
