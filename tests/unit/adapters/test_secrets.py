"""Secret references: private files, the environment, programs; and that nothing tells the secret itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from orchestrator.adapters.interrupts import Interrupts
from orchestrator.adapters.secrets import MAX_BYTES, SecretStore
from orchestrator.model.errors import EXIT_PRECONDITION, Interrupted, Precondition, ResguardoError, RightsMissing
from orchestrator.policy.secret_ref import SecretRef

CANARY = "canary-¡señal! with spaces 'and quotes\""


def key(folder: Path, content: bytes, mode: int = 0o600, name: str = "key") -> Path:
    path = folder / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


def of_file(path: Path | str) -> SecretRef:
    return SecretRef.model_validate({"file": str(path)})


def of_command(*argv: str) -> SecretRef:
    return SecretRef.model_validate({"command": list(argv)})


def refusal(ref: SecretRef, folder: Path, **environ: str) -> ResguardoError:
    with pytest.raises(Precondition) as caught:
        SecretStore(str(folder), {"PATH": os.environ["PATH"], **environ})(ref)
    assert caught.value.exit_code == EXIT_PRECONDITION
    assert "canary" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (CANARY.encode(), CANARY),
        (CANARY.encode() + b"\n", CANARY),
        (CANARY.encode() + b"\r\n", CANARY),
        (b" x \n\n", " x \n"),
        (b"-leading", "-leading"),
    ],
)
def test_a_private_file(tmp_path: Path, content: bytes, secret: str) -> None:
    found = SecretStore(str(tmp_path))(of_file(key(tmp_path, content)))
    assert found.reveal() == secret
    assert repr(found) == str(found) == f"{found}" == "***"


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_modes_that_are_private(tmp_path: Path, mode: int) -> None:
    assert SecretStore(str(tmp_path))(of_file(key(tmp_path, b"x", mode))).reveal() == "x"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o601])
def test_a_file_that_is_open_to_others(tmp_path: Path, mode: int) -> None:
    path = key(tmp_path, CANARY.encode(), mode, name="my key")
    error = refusal(of_file(path), tmp_path)
    assert isinstance(error, RightsMissing)
    assert error.message == f"the secret file {path} is open to others (mode {mode:04o})"
    assert error.hint == f"chmod 600 '{path}'"


def test_a_link_counts_by_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(key(tmp_path, b"x"))
    assert SecretStore(str(tmp_path))(of_file(tmp_path / "link")).reveal() == "x"
    (tmp_path / "key").chmod(0o644)
    assert "is open to others (mode 0644)" in refusal(of_file(tmp_path / "link"), tmp_path).message


@pytest.mark.skipif(os.geteuid() != 0, reason="impossible here: only root can give files away")
def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    path = key(tmp_path, CANARY.encode())
    os.chown(path, 65534, 65534)
    error = refusal(of_file(path), tmp_path)
    assert isinstance(error, RightsMissing)
    assert error.message == f"the secret file {path} belongs to user 65534"
    assert error.hint == f"chown 0 {path}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "gives an empty secret"),
        (b"\n", "gives an empty secret"),
        (b"a\0b", "gives a NUL character"),
        (b"\xff\xfe", "gives no UTF-8 text"),
        (b"x" * (MAX_BYTES + 1), "gives more than 64 KiB"),
    ],
)
def test_files_that_hold_no_secret(tmp_path: Path, content: bytes, message: str) -> None:
    path = key(tmp_path, content)
    assert refusal(of_file(path), tmp_path).message == f"the secret file {path} {message}"


def test_what_is_no_file(tmp_path: Path) -> None:
    what = f"the secret file {tmp_path}"
    assert refusal(of_file(tmp_path / "none"), tmp_path).message == f"{what}/none does not exist"
    assert refusal(of_file(tmp_path), tmp_path).message == f"{what} is not a regular file"
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert refusal(of_file(tmp_path / "fifo"), tmp_path).message == f"{what}/fifo is not a regular file"


def test_the_environment(tmp_path: Path) -> None:
    ref = SecretRef(env="HUB_PASSWORD")
    assert SecretStore(str(tmp_path), {"HUB_PASSWORD": CANARY})(ref).reveal() == CANARY
    assert refusal(ref, tmp_path).message == "the environment variable HUB_PASSWORD is not set"
    assert refusal(ref, tmp_path, HUB_PASSWORD="").message == "the environment variable HUB_PASSWORD is empty"


class TestCommand:
    def test_its_words_are_words(self, tmp_path: Path) -> None:
        hostile = "$(id); `id` 'x' \"y\" %s \\n ñ"
        assert SecretStore(str(tmp_path))(of_command("printf", "%s\\n", hostile)).reveal() == hostile

    def test_it_sees_a_clean_environment_and_the_policys_folder(self, tmp_path: Path) -> None:
        environ = {"PATH": os.environ["PATH"], "HOME": "/h", "LANG": "C.UTF-8", "RESTIC_PASSWORD": CANARY}
        store = SecretStore(str(tmp_path), environ)
        names = {line.split("=")[0] for line in store(of_command("/usr/bin/env")).reveal().splitlines()}
        assert names == {"PATH", "HOME", "LANG"}
        assert store(of_command("/bin/pwd")).reveal() == str(tmp_path)

    def test_a_relative_program_is_beside_the_policy(self, tmp_path: Path) -> None:
        key(tmp_path, b"#!/bin/sh\necho found\n", 0o700, name="tell")
        assert SecretStore(str(tmp_path))(of_command("./tell")).reveal() == "found"

    def test_failure_tells_the_code_and_no_output(self, tmp_path: Path) -> None:
        error = refusal(of_command("sh", "-c", f"echo {CANARY[:6]}; echo {CANARY[:6]} >&2; exit 7"), tmp_path)
        assert error.message == "the secret's command sh failed with exit code 7"

    def test_missing(self, tmp_path: Path) -> None:
        error = refusal(of_command("/no/such"), tmp_path)
        assert error.message == "the secret's command /no/such cannot be started: no such file or directory"

    def test_silent(self, tmp_path: Path) -> None:
        assert refusal(of_command("true"), tmp_path).message == "the secret's command true gives an empty secret"

    def test_endless_output_is_cut(self, tmp_path: Path) -> None:
        began = time.monotonic()
        assert refusal(of_command("yes", CANARY), tmp_path).message == "the secret's command yes gives more than 64 KiB"
        assert time.monotonic() - began < 20

    @pytest.mark.parametrize("script", ["sleep 600", "sleep 600 & echo $! >child; wait", "exec >/dev/null; sleep 600"])
    def test_one_that_hangs_is_ended_with_all_its_children(self, tmp_path: Path, script: str) -> None:
        store = SecretStore(str(tmp_path), {"PATH": os.environ["PATH"]}, deadline=0.5)
        with pytest.raises(Precondition) as caught:
            store(of_command("sh", "-c", script))
        assert caught.value.message == "the secret's command sh took longer than 0.5 s"
        child = tmp_path / "child"
        if child.exists():
            assert ended(int(child.read_text()))

    @pytest.mark.parametrize("script", ["echo $$ > pid; exec sleep 60", "echo $$ > pid; exec sleep 60 >&-"])
    def test_a_signal_ends_it_at_once(self, tmp_path: Path, script: str) -> None:
        interrupts = Interrupts()
        threading.Timer(0.3, interrupts.trigger, (signal.SIGTERM,)).start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            SecretStore(str(tmp_path), os.environ, interrupts=interrupts)(of_command("/bin/sh", "-c", script))
        assert time.monotonic() - began < 3
        assert ended(int((tmp_path / "pid").read_text()))

    def test_one_that_leaves_a_child_behind(self, tmp_path: Path) -> None:
        script = "sleep 600 >/dev/null & echo $! >child; echo x"
        assert SecretStore(str(tmp_path))(of_command("sh", "-c", script)).reveal() == "x"
        assert ended(int((tmp_path / "child").read_text()))


def ended(pid: int) -> bool:
    """Wait until the process is gone or a zombie of somebody else's."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in ("Z", "X"):
            return True
        time.sleep(0.01)
    return False


def test_each_is_resolved_once(tmp_path: Path) -> None:
    store = SecretStore(str(tmp_path))
    counted = of_command("sh", "-c", "echo x >>count; echo secret")
    assert store(counted) == store(of_command("sh", "-c", "echo x >>count; echo secret"))
    assert (tmp_path / "count").read_text() == "x\n"
