from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.adapters.executor import HostExecutor
from orchestrator.adapters.private import LARGE, socket_dir, staging_dir
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo, reconcile
from orchestrator.model.errors import ResguardoError, RightsMissing, ToolMissing
from orchestrator.model.execution import RemovePath
from tests.unit.adapters.host.help import RUN, until


@pytest.fixture
def at(state: StateFolder) -> HostExecutor:
    return HostExecutor(state)


def test_run_returns_output_exit_and_stderr(at: HostExecutor, undo: RunUndo) -> None:
    done = at.run(["sh", "-c", "cat; echo oops >&2; exit 3"], undo=undo, stdin=b"\0bytes\xff" * 100_000)
    assert done.stdout == b"\0bytes\xff" * 100_000
    assert (done.exit.code, done.exit.stderr_tail) == (3, "oops\n")


def test_secrets_are_private_files_that_go(at: HostExecutor, undo: RunUndo, state: StateFolder) -> None:
    script = 'cat "$1" && stat -c " %a" "$1" && echo "$KEY" && [ "$1" = "$KEY" ]'
    done = at.run(
        ["sh", "-c", script, "sh", "{secret:pgpass}"],
        undo=undo,
        env={"KEY": "{secret:pgpass}", "OTHER": "{secret:unknown}"},
        secrets={"pgpass": b"can\0ary\n", "other one": b"x"},
    )
    assert done.exit.ok
    assert done.stdout.startswith(b"can\0ary\n 600\n" + os.fsencode(state.runtime))
    assert os.listdir(state.runtime) == []


def test_secrets_go_when_nothing_could_be_started(at: HostExecutor, undo: RunUndo, state: StateFolder) -> None:
    undo.register(RemovePath(state.runtime + "/nothing"))
    os.kill(undo.sentinel, signal.SIGKILL)
    with pytest.raises(ResguardoError, match="sentinel"):
        at.run(["true"], undo=undo, secrets={"key": b"canary"})
    assert os.listdir(state.runtime) == []


DIE = """
import os
from orchestrator.adapters.executor import HostExecutor
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
state = StateFolder(os.environ["POLICY"])
HostExecutor(state).run(["sleep", "60"], undo=RunUndo(state, "20240229T010203Z-00000a"), secrets={"key": b"canary"})
"""


@pytest.mark.parametrize("place", ["secret.written", "child.released"])
def test_secrets_go_when_we_die(state: StateFolder, owner: Callable, place: str) -> None:
    assert owner(DIE, RESGUARDO_FAILPOINT=place).process.wait(10) == -signal.SIGKILL
    assert until(lambda: os.listdir(state.runtime) == [], 3)
    (dead,) = reconcile(state)
    assert dead.problems == ()


@pytest.mark.root
def test_another_user_reads_its_secrets_and_nothing_of_ours(
    at: HostExecutor, undo: RunUndo, state: StateFolder
) -> None:
    nobody = pwd.getpwnam("nobody")
    script = 'id -u; id -g; cat "$1"; echo "$HOME"; grep CapEff /proc/self/status; cat "$2"'
    done = at.run(
        ["sh", "-c", script, "sh", "{secret:key}", state.lock], undo=undo, user="nobody", secrets={"key": b"canary\n"}
    )
    assert done.stdout.decode().split() == [
        str(nobody.pw_uid),
        str(nobody.pw_gid),
        "canary",
        nobody.pw_dir,
        "CapEff:",
        "0" * 16,
    ]
    assert "ermission denied" in done.exit.stderr_tail
    assert not list(Path(state.temporary_prefix).parent.glob(f"resguardo-{state.id}-*"))


def test_refusals(at: HostExecutor, undo: RunUndo) -> None:
    with pytest.raises(RightsMissing, match="user no such: no such user"):
        at.run(["true"], undo=undo, user="no such")
    with pytest.raises(ToolMissing):
        at.run(["no-such-tool"], undo=undo, secrets={"key": b"canary"})
    with pytest.raises(ResguardoError, match="printed more than 16777216 bytes"):
        at.run(["head", "-c", "17000000", "/dev/zero"], undo=undo)
    assert at.run(["sleep", "60"], undo=undo, deadline=0.1).exit.timed_out
    assert at.which("sh") is not None
    assert at.which("no-such-tool") is None
    assert undo.sentinel > 0


def test_private_directories(at: HostExecutor, undo: RunUndo, state: StateFolder) -> None:
    small, large = at.private_dir(undo), at.private_dir(undo, size_hint=LARGE + 1)
    assert (os.path.dirname(small), os.path.dirname(large)) == (state.runtime, state.disk)
    assert os.stat(small).st_mode & 0o7777 == 0o700
    Path(large, "plain").write_text("text")
    undo.close()
    assert not os.path.exists(small)
    assert not os.path.exists(large)


def test_staging_is_the_same_place_every_time(undo: RunUndo, state: StateFolder) -> None:
    with staging_dir(state, undo, "hub/default") as first:
        assert os.stat(first).st_mode & 0o7777 == 0o700
        Path(first, "dump").write_text("text")
    assert not os.path.exists(first)
    undo.close()
    os.makedirs(first)
    Path(first, "left by a dead run").write_text("text")
    with RunUndo(state, RUN) as later, staging_dir(state, later, "hub/default") as again:
        assert again == first
        assert os.listdir(first) == []


def test_staging_of_a_failed_block_is_left_to_the_undo_list(undo: RunUndo, state: StateFolder) -> None:
    with pytest.raises(ResguardoError), staging_dir(state, undo, "hub/default") as folder:
        raise ResguardoError("restic may still read")
    assert os.path.exists(folder)
    undo.close()
    assert not os.path.exists(folder)


def test_sockets_find_a_short_place(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    state = StateFolder("policy.yml", {"RESGUARDO_STATE": str(deep)})
    with RunUndo(state, RUN) as undo:
        folder = socket_dir(state, undo)
        assert len(folder) < 80
        assert os.stat(folder).st_mode & 0o7777 == 0o700
    assert not os.path.exists(folder)
