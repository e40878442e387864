from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from orchestrator.adapters import journal, sentinel
from orchestrator.adapters.journal import Owner
from orchestrator.adapters.launch import launch, name_process
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo, reconcile
from orchestrator.model.errors import Precondition, ResguardoError
from orchestrator.model.execution import PutBack, RemovePath, Tell
from tests.unit.adapters.host.help import RUN, lives, until

# Starts a restic-like child, a dump-like child and a directory of plaintext, then says all of it and waits.
OWNER = """
import json, os, sys
from orchestrator.adapters.launch import launch, memory_file
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
from orchestrator.adapters.private import private_dir
state = StateFolder(os.environ["POLICY"])
undo = RunUndo(state, sys.argv[1])
folder = private_dir(state, undo)
os.makedirs(folder + "/deep er\\n/x")
open(folder + "/deep er\\n/-f '\\"%s", "w").write("plaintext")
os.symlink("/etc", folder + "/link")
restic = launch(["sh", "-c", sys.argv[2], "restic", folder, sys.argv[4]], undo=undo, role="restic", repository="local")
dump = launch(["sh", "-c", sys.argv[3], "dump", folder, sys.argv[4]], undo=undo)
print(json.dumps([restic.pid, dump.pid, undo.sentinel, folder]), flush=True)
input()
"""
SLEEP = "exec sleep 60"
# Both note the moment of their end and whether the plaintext was still there; a file says that they can.
NOTE = 'trap \'{{ [ -d "$1" ] && echo "{name} kept" || echo "{name} GONE"; }} >>"$2"; exit 1\' {signal}; '
WAIT = ': >"$2.$0"; while :; do sleep 0.05; done'


def entries(state: StateFolder) -> list[str]:
    return sorted(os.listdir(state.holds))


def test_nothing_is_started_for_nothing(state: StateFolder) -> None:
    with RunUndo(state, RUN) as undo:
        assert undo.sentinel == 0
    assert entries(state) == []


def test_an_orderly_end_leaves_nothing(state: StateFolder, tmp_path: Path) -> None:
    with RunUndo(state, RUN) as undo:
        assert launch(["true"], undo=undo).wait().ok
        pid = undo.sentinel
        assert lives(pid)
        assert os.getsid(pid) == pid
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert sorted(map(int, os.listdir(f"/proc/{pid}/fd"))) == [0, 1, 2, 3, 4]
        assert Path(f"/proc/{pid}/environ").read_bytes() == b"LC_ALL=C.UTF-8\0"
        assert entries(state) == [f"{RUN}.jsonl"]
        assert reconcile(state) == []  # a living run is not touched
    assert not lives(pid)
    assert entries(state) == []
    undo.close()


def test_close_undoes_what_was_left(state: StateFolder) -> None:
    folder = Path(state.runtime, "left")
    with RunUndo(state, RUN) as undo:
        undo.register(RemovePath(str(folder)))
        folder.mkdir()
        child = launch(["sleep", "60"], undo=undo)
    assert child.wait().signal == signal.SIGTERM
    assert not folder.exists()
    assert undo.problems == ()


def test_many_threads(state: StateFolder) -> None:
    with RunUndo(state, RUN) as undo:
        threads = [
            threading.Thread(target=lambda: [launch(["true"], undo=undo).wait() for _ in range(5)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        raw = Path(state.holds, f"{RUN}.jsonl").read_bytes()
        assert len([line for line in raw.splitlines() if b'"action"' in line]) == 20
        assert until(lambda: not journal.parse(Path(state.holds, f"{RUN}.jsonl").read_bytes()).pending, 2)


@pytest.mark.parametrize("kind", ["INT", "TERM", "HUP"])
def test_the_sentinel_ignores_signals(state: StateFolder, undo: RunUndo, kind: str) -> None:
    undo.register(RemovePath(state.runtime + "/x"))
    os.kill(undo.sentinel, signal.Signals[f"SIG{kind}"])
    undo.register(RemovePath(state.runtime + "/y"))
    assert lives(undo.sentinel)


def test_kill_9_of_the_owner_ends_restic_then_the_dump_then_removes(
    state: StateFolder, owner: Callable, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    restic = NOTE.format(name="restic", signal="INT") + WAIT
    dump = NOTE.format(name="dump", signal="TERM") + WAIT
    run = owner(OWNER, RUN, restic, dump, str(notes))
    first, second, guard, folder = json.loads(run.line())
    assert until(lambda: all(Path(f"{notes}.{name}").exists() for name in ("restic", "dump")), 2)
    run.kill()
    assert until(lambda: not lives(guard), 2)
    assert not lives(first)
    assert not lives(second)
    assert not Path(folder).exists()
    assert notes.read_text() == "restic kept\ndump kept\n"
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize("deaf", ["restic", "dump"])
def test_deaf_children_and_their_children_are_killed(
    state: StateFolder, owner: Callable, tmp_path: Path, deaf: str
) -> None:
    pids = tmp_path / "pids"
    stubborn = f"trap '' INT TERM; (trap '' INT TERM; sleep 60) & echo $! >'{pids}'; sleep 60; sleep 60; sleep 60"
    scripts = (stubborn, SLEEP) if deaf == "restic" else (SLEEP, stubborn)
    run = owner(OWNER, RUN, *scripts, "")
    first, second, guard, folder = json.loads(run.line())
    assert until(lambda: pids.exists() and pids.read_text().endswith("\n"), 5)
    run.kill()
    stubborn_pid = first if deaf == "restic" else second
    assert until(lambda: not lives(stubborn_pid) or not Path(folder).exists(), 2)
    assert not lives(stubborn_pid)  # never removed under a living child
    assert until(lambda: not lives(guard), 2)
    assert not lives(int(pids.read_text()))
    assert not lives(first)
    assert not lives(second)
    assert not Path(folder).exists()


def test_reconcile_of_what_the_sentinel_undid(state: StateFolder, owner: Callable) -> None:
    run = owner(OWNER, RUN, SLEEP, SLEEP, "")
    first, second, _, folder = json.loads(run.line())
    run.kill()
    (dead,) = reconcile(state)  # at once: it waits for a sentinel at work
    assert not lives(first)
    assert not lives(second)
    assert not Path(folder).exists()
    assert (dead.run, dead.problems, dead.readable) == (RUN, (), True)
    assert [(p.pid, p.role, p.repository) for p in dead.restic] == [(first, "restic", "local")]
    assert entries(state) == [f"{RUN}.jsonl"]
    dead.forget()
    assert reconcile(state) == []
    assert entries(state) == []


def test_reconcile_when_the_sentinel_was_killed_first(state: StateFolder, owner: Callable) -> None:
    run = owner(OWNER, RUN, SLEEP, SLEEP, "")
    first, second, guard, folder = json.loads(run.line())
    os.kill(guard, signal.SIGKILL)
    assert until(lambda: not lives(guard), 2)
    assert reconcile(state) == []  # the owner lives and holds its half of the lock
    run.kill()
    assert lives(first)
    assert lives(second)
    (dead,) = reconcile(state)
    assert not lives(first)
    assert not lives(second)
    assert not Path(folder).exists()
    assert dead.problems == ()
    assert [p.pid for p in dead.restic] == [first]


def test_a_dead_sentinel_fails_the_run_and_close_still_undoes(state: StateFolder, tmp_path: Path) -> None:
    undo = RunUndo(state, RUN)
    child = launch(["sleep", "60"], undo=undo)
    folder = Path(state.runtime, "left")
    undo.register(RemovePath(str(folder)))
    folder.mkdir()
    os.kill(undo.sentinel, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(ResguardoError, match=r"its sentinel .* does not answer"):
            launch(["touch", str(tmp_path / "ran")], undo=undo)
    undo.close()
    assert child.wait().signal == signal.SIGTERM
    assert not folder.exists()
    assert not (tmp_path / "ran").exists()
    assert entries(state) == []


def test_a_sentinel_that_cannot_be_started(state: StateFolder) -> None:
    undo = RunUndo(state, RUN, python="/no/such/python")
    with pytest.raises(Precondition, match="the sentinel cannot be started: /no/such/python"):
        undo.register(RemovePath(state.runtime + "/x"))
    undo.close()
    assert entries(state) == []


def write_journal(state: StateFolder, *records: object, owner: Owner | None = None) -> Path:
    path = Path(state.holds, f"{RUN}.jsonl")
    dead = owner or replace(Owner.me(), pid=2**22 - 1, start=1)
    head = {"run": RUN, "owner": asdict(dead), "removable": ["/"]}
    path.write_text("".join(json.dumps(record) + "\n" for record in (head, *records)))
    return path


@pytest.fixture
def bystander() -> subprocess.Popen[bytes]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as process:
        yield process
        process.kill()


def test_a_reused_pid_is_left_alone(state: StateFolder, bystander: subprocess.Popen[bytes]) -> None:
    named = name_process(bystander.pid, "restic", "local")
    earlier = replace(named, start=named.start - 1)
    write_journal(state, {"id": "1", "action": asdict(earlier)})
    (dead,) = reconcile(state)
    assert dead.problems == ()
    assert bystander.poll() is None
    assert dead.restic == (earlier,)


def test_a_process_of_another_boot_is_left_alone(state: StateFolder, bystander: subprocess.Popen[bytes]) -> None:
    earlier = replace(name_process(bystander.pid, "dump"), boot="another")
    folder = Path(state.runtime, "left")
    folder.mkdir()
    write_journal(state, {"id": "1", "action": asdict(earlier)}, {"id": "2", "action": asdict(RemovePath(str(folder)))})
    (dead,) = reconcile(state)
    assert dead.problems == ()
    assert bystander.poll() is None
    assert not folder.exists()


def test_a_process_that_cannot_be_seen_keeps_its_files(state: StateFolder, bystander: subprocess.Popen[bytes]) -> None:
    elsewhere = replace(name_process(bystander.pid, "dump"), pid_namespace=1)
    folder = Path(state.runtime, "left")
    folder.mkdir()
    path = write_journal(
        state, {"id": "1", "action": asdict(elsewhere)}, {"id": "2", "action": asdict(RemovePath(str(folder)))}
    )
    (dead,) = reconcile(state)
    assert dead.problems == (
        f"process {bystander.pid} runs in another PID namespace",
        f"{folder} was kept: a process may still read it",
    )
    assert folder.exists()
    assert bystander.poll() is None
    dead.forget()
    assert path.exists()


def test_an_original_gets_its_name_back_if_that_is_free(state: StateFolder, tmp_path: Path) -> None:
    for name in ("one_before_X", "two", "two_before_X"):
        (tmp_path / name).write_text(name)
    actions = [PutBack(f"{tmp_path}/{name}", f"{tmp_path}/{name}_before_X") for name in ("one", "two", "three")]
    write_journal(state, *({"id": str(number), "action": asdict(each)} for number, each in enumerate(actions)))
    (dead,) = reconcile(state)
    assert dead.problems == ()
    assert (tmp_path / "one").read_text() == "one_before_X"
    assert (tmp_path / "two").read_text() == "two"
    assert (tmp_path / "two_before_X").read_text() == "two_before_X"


def test_nothing_else_is_renamed_and_the_copy_stays(state: StateFolder, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    copy = Path(state.runtime, "copy")
    copy.mkdir()
    odd = PutBack(str(tmp_path / "one"), str(tmp_path / "other"))
    write_journal(state, *({"id": str(n), "action": asdict(a)} for n, a in enumerate([RemovePath(str(copy)), odd])))
    (dead,) = reconcile(state)
    assert dead.problems == (f"{tmp_path}/other is not ours to rename", f"{copy} was kept")
    assert (tmp_path / "other").exists()
    assert copy.exists()


def test_what_only_the_user_can_mend_is_told_after_death(state: StateFolder) -> None:
    tell = Tell("shop/main: 'a' was replaced, and what it was is kept as 'b'", "restore again", "shop")
    write_journal(state, {"id": "1", "action": asdict(tell)}, {"undone": True, "problems": []})
    (dead,) = reconcile(state)
    assert dead.left == (tell,)


@pytest.mark.root
@pytest.mark.parametrize("options", [("-t", "tmpfs", "tmpfs"), ("--bind",)], ids=["another", "bind"])
def test_what_is_mounted_in_a_folder_of_ours_is_not_removed(
    options: tuple[str, ...], state: StateFolder, tmp_path: Path
) -> None:
    ours, live = Path(state.runtime, "left"), tmp_path / "live"
    inside = ours / "a" / "my mount"
    inside.mkdir(parents=True)
    (ours / "z").touch()
    live.mkdir()
    what = (str(live),) if options == ("--bind",) else ()
    if subprocess.run(["mount", *options, *what, str(inside)], check=False, capture_output=True).returncode:
        pytest.skip("impossible here: mounting is not allowed")
    try:
        (inside / "precious").write_text("precious")
        write_journal(state, {"id": "1", "action": asdict(RemovePath(str(ours)))})
        (dead,) = reconcile(state)
        assert dead.problems == (f"{ours} cannot be removed: another file system is mounted at {inside}",)
        assert (inside / "precious").read_text() == "precious"
        assert (ours / "z").exists()
    finally:
        subprocess.run(["umount", str(inside)], check=True)


def test_an_impostor_cannot_be_registered(
    state: StateFolder, undo: RunUndo, bystander: subprocess.Popen[bytes]
) -> None:
    named = name_process(bystander.pid, "dump")
    with pytest.raises(ResguardoError, match="is not the one that was started"):
        undo.register(replace(named, start=named.start + 1))
    undo.register(named)
    undo.close()
    assert bystander.wait(5) == -signal.SIGTERM


def test_only_our_own_folders_are_removed(state: StateFolder, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("")
    link = Path(state.runtime, "link")
    link.symlink_to(tmp_path)
    paths = [
        str(precious),
        f"{state.runtime}/../../precious",
        f"{state.runtime}/link/precious",
        f"{state.runtime}/",
        f"{state.runtime}/.",
        f"{state.runtime}/..",
        state.runtime,
        state.root,
        state.holds,
        "relative",
    ]
    write_journal(state, *({"id": str(n), "action": asdict(RemovePath(p))} for n, p in enumerate(paths)))
    (dead,) = reconcile(state)
    assert dead.problems == tuple(f"{path} is not ours to remove" for path in reversed(paths))
    assert (precious / "file").exists()
    assert link.is_symlink()


def test_a_torn_last_line_is_the_mark_of_a_crash(state: StateFolder) -> None:
    folder = Path(state.runtime, "left\n")
    folder.mkdir()
    path = write_journal(state, {"id": "1", "action": asdict(RemovePath(str(folder)))})
    with path.open("a") as stream:
        stream.write('{"id": "2", "action": {"ki')
    (dead,) = reconcile(state)
    assert (dead.problems, dead.readable, folder.exists()) == ((), True, False)


@pytest.mark.parametrize("damage", [b"", b"nonsense\n", b'{"run": "x"}\n', b"\xff\xfe\n\n"])
def test_an_unreadable_journal_is_reported_and_kept(state: StateFolder, damage: bytes) -> None:
    path = Path(state.holds, f"{RUN}.jsonl")
    path.write_bytes(damage)
    (dead,) = reconcile(state)
    assert not dead.readable
    assert f"{path}: the journal cannot be read" in dead.problems[0]
    dead.forget()
    assert path.read_bytes() == damage


def test_a_journal_that_was_never_signed_goes(state: StateFolder) -> None:
    young, old = Path(state.holds, "a.jsonl.new"), Path(state.holds, "b.jsonl.new")
    young.touch()
    old.touch()
    os.utime(old, (1, 1))
    assert reconcile(state) == []
    assert (young.exists(), old.exists()) == (True, False)


def test_a_full_disk_refuses_and_leaves_a_whole_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    script = (
        "import resource, sys\n"
        "from orchestrator.adapters.sentinel import append\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "append(0, {'a': 1})\n"
        "try:\n"
        "    append(0, {'path': 'x' * 200})\n"
        "except OSError:\n"
        "    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], stdin=fd, capture_output=True, text=True, check=True)
    os.close(fd)
    assert done.stdout == "refused\n"
    assert path.read_bytes() == b'{"a": 1}\n'


def test_the_sentinel_needs_nothing_of_ours() -> None:
    script = f"import runpy, sys; runpy.run_path({sentinel.__file__!r}); print([m for m in sys.modules if 'orch' in m])"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
