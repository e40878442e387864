"""What restic is asked to do: argument vectors, environment, and the files beside them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.restic import backup, environment, reading
from orchestrator.adapters.restic.command import Request, Runner
from orchestrator.adapters.restic.environment import Room
from orchestrator.adapters.restic.settings import Settings
from orchestrator.model.engine import PathSet
from orchestrator.model.execution import Action, Proc
from orchestrator.model.repository import SnapshotTags
from orchestrator.model.secret import Secret

TAGS = SnapshotTags("shop", "default", "20260101T000000Z-abcdef", "stream", "main", "all")


class Memory:
    """An undo list that remembers."""

    def __init__(self) -> None:
        self.finished: list[str] = []

    def register(self, action: Action) -> str:
        return str(action)

    def done(self, action_id: str) -> None:
        self.finished.append(action_id)


def _room(tmp_path: Path, undo: Memory) -> Room:
    (tmp_path / "room").mkdir()
    return Room(lambda _undo: (str(tmp_path / "room"), "action-1"), undo)


def _settings(tmp_path: Path, **changes: Any) -> Settings:
    program = tmp_path / "restic"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    plain: dict[str, Any] = {
        "name": "local",
        "url": "/srv/repository",
        "host": "hub",
        "password": lambda: Secret("canary-password"),
        "cache": str(tmp_path / "cache"),
        "program": str(program),
    }
    return Settings(**(plain | changes))


def _no_launcher(*_args: object, **_more: object) -> Proc:
    raise AssertionError("nothing is started here")


def _argv(tmp_path: Path, request: Request, **changes: Any) -> list[str]:
    undo = Memory()
    room = _room(tmp_path, undo)
    settings = _settings(tmp_path, **changes)
    argv = Runner(settings, _no_launcher, lambda _undo: ("", "")).argv(request, room)
    return argv[argv.index(os.path.realpath(settings.program)) + 1 :]


def test_global_flags(tmp_path: Path) -> None:
    changes = {"compression": "max", "upload": 100, "download": 200, "options": {"s3.bucket-lookup": "dns"}}
    assert _argv(tmp_path, Request("list", ["snapshots"], 5.0), **changes) == [
        "--json",
        "--compression=max",
        "--limit-upload=100",
        "--limit-download=200",
        "-o",
        "s3.bucket-lookup=dns",
        "snapshots",
    ]


def test_calls_that_lock_wait_for_a_lock_in_their_way(tmp_path: Path) -> None:
    argv = _argv(tmp_path, Request("prune", ["prune"], 5.0, locks=True), retry_lock=300.0)
    assert argv == ["--json", "--compression=auto", "--retry-lock=300s", "prune"]
    for request in (
        backup.stream_request("main.db", ["cat"], TAGS, "hub", None),
        backup.paths_request(PathSet(("/srv",)), TAGS, "hub", parent=None, deadline=None, on_bytes=None),
    ):
        assert request.locks
    assert not reading.read_request("abc", "/x", 10).locks


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "sftp.args=-oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=30"),
        (
            {"sftp.args": "-i /key"},
            "sftp.args=-i /key -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=30",
        ),
        ({"sftp.command": "ssh h -s sftp"}, "sftp.command=ssh h -s sftp"),
    ],
)
def test_ssh_neither_asks_nor_waits_for_ever(tmp_path: Path, options: dict[str, str], expected: str) -> None:
    argv = _argv(tmp_path, Request("list", ["snapshots"], 5.0), url="sftp:u@h:/x", options=options)
    assert argv[argv.index("-o") + 1 :] == [expected, "snapshots"]


def test_priority_comes_before_restic(tmp_path: Path) -> None:
    runner = Runner(_settings(tmp_path, nice=10, ionice="idle"), _no_launcher, lambda _undo: ("", ""))
    argv = runner.argv(Request("list", ["snapshots"], 5.0), _room(tmp_path, Memory()))
    assert [os.path.basename(word) for word in argv[:3]] == ["nice", "-n", "10"]


def test_a_stream_names_itself_by_tags_and_a_flat_file() -> None:
    request = backup.stream_request("main.all.sql", ["/pump", "--socket"], TAGS, "hub", 60.0)
    assert list(request.args) == [
        "backup",
        "--host=hub",
        "--tag=resguardo",
        "--tag=item=all",
        "--tag=part=stream",
        "--tag=run=20260101T000000Z-abcdef",
        "--tag=service=shop",
        "--tag=source=main",
        "--tag=tier=default",
        "--tag=v=1",
        "--stdin-filename=main.all.sql",
        "--stdin-from-command",
        "--",
        "/pump",
        "--socket",
    ]


def test_a_comma_in_a_tag_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="commas"):
        backup.stream_request("x", ["/pump"], SnapshotTags("a,b", "default", "r", "stream"), "hub", None)


def test_paths_travel_in_a_list_that_any_name_survives() -> None:
    paths = PathSet(("/a\n", "-b", "\udcff"), excludes=("-x", "#y"))
    request = backup.paths_request(paths, TAGS, "hub", parent="ab", deadline=None, on_bytes=None)
    assert request.files == {"paths": b"/a\n\0-b\0\xff\0"}
    assert request.args[-4:] == ["--files-from-raw={room}/paths", "--parent=ab", "--exclude=-x", "--exclude=#y"]


def test_a_braced_pattern_stays_as_it_is(tmp_path: Path) -> None:
    argv = _argv(tmp_path, Request("x", ["--files-from-raw={room}/paths", "--exclude={room}"], 1.0))
    assert argv[-2:] == [f"--files-from-raw={tmp_path}/room/paths", "--exclude={room}"]


def test_secrets_are_files_and_the_room_goes(tmp_path: Path) -> None:
    undo = Memory()
    room = _room(tmp_path, undo)
    given = {
        "AWS_ACCESS_KEY_ID": Secret("AKIA"),
        "AWS_SECRET_ACCESS_KEY": Secret("canary/key+="),
        "AWS_DEFAULT_REGION": "eu",
        "B2_ACCOUNT_KEY": Secret("canary-b2"),
    }
    inherited = {"AWS_PROFILE": "x", "RESTIC_PASSWORD": "x", "SSH_AUTH_SOCK": "/s", "CANARY": "x"}
    env = environment.build(_settings(tmp_path, env=given), room, inherited)
    assert {key: value for key, value in env.items() if key.startswith(("AWS", "B2", "SSH"))} == {
        "AWS_DEFAULT_REGION": "eu",
        "AWS_SHARED_CREDENTIALS_FILE": room.place("credentials"),
        "B2_ACCOUNT_KEY": "canary-b2",
        "SSH_AUTH_SOCK": "/s",
    }
    assert not {"RESTIC_PASSWORD", "CANARY"} & set(env)
    assert "canary-password" not in str(env)
    assert Path(env["RESTIC_PASSWORD_FILE"]).read_text() == "canary-password"
    assert Path(env["RESTIC_REPOSITORY_FILE"]).read_text() == "/srv/repository"
    assert {path.stat().st_mode & 0o777 for path in Path(room.path).iterdir()} == {0o600}
    assert os.path.isdir(env["TMPDIR"])
    assert os.path.isdir(env["RESTIC_CACHE_DIR"])
    room.remove()
    assert (Path(room.path).exists(), undo.finished) == (False, ["action-1"])


def test_a_key_that_an_ini_file_would_bend_stays_in_the_environment(tmp_path: Path) -> None:
    given = {"AWS_ACCESS_KEY_ID": Secret("id"), "AWS_SECRET_ACCESS_KEY": Secret("a #b")}
    env = environment.build(_settings(tmp_path, env=given), _room(tmp_path, Memory()), {})
    assert env["AWS_SECRET_ACCESS_KEY"] == "a #b"
    assert "AWS_SHARED_CREDENTIALS_FILE" not in env


def test_settings_do_not_print_secrets(tmp_path: Path) -> None:
    shown = repr(_settings(tmp_path, url="rest:http://u:canary-url@h/x", env={"B2_ACCOUNT_KEY": "canary-b2"}))
    assert "canary" not in shown
