"""No secret in any argument vector or environment while restic runs, and none left on disk after."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.errors import RepositoryUnreachable
from orchestrator.model.secret import Secret
from tests.conftest import PASSWORD, MakeRepository
from tests.integration.restic.common import tags

CANARIES = (PASSWORD.encode(), b"canary-url-pw", b"canary/secret+key=", b"AKIACANARY")


def _seen_of(pid: int) -> bytes:
    found = b""
    for name in ("cmdline", "environ"):
        with open(f"/proc/{pid}/{name}", "rb") as file:
            found += file.read()
    return found


def _words_of(pid: str) -> bytes:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()
    return b""


def _files_below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_restic_and_its_child_show_no_secret(
    make_repository: MakeRepository, undo: RunUndo, state: StateFolder, tmp_path: Path
) -> None:
    repository = make_repository(
        env={"AWS_ACCESS_KEY_ID": Secret("AKIACANARY"), "AWS_SECRET_ACCESS_KEY": Secret("canary/secret+key=")}
    )
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    running = repository.backup_stream("x", ["/bin/sh", "-c", f"echo $$ > '{fifo}'; exec sleep 60"], tags(), undo)
    child = int(fifo.read_bytes())
    with open(f"/proc/{child}/stat", encoding="ascii") as file:
        restic = int(file.read().rpartition(")")[2].split()[1])
    seen = _seen_of(restic) + _seen_of(child)
    secrets = [path for path in _files_below(Path(state.root)) if path.name in {"password", "credentials"}]
    modes = {path.stat().st_mode & 0o777 for path in secrets} | {path.parent.stat().st_mode & 0o077 for path in secrets}
    running.stop()
    assert b"RESTIC_PASSWORD_FILE" in seen
    assert b"AWS_SHARED_CREDENTIALS_FILE" in seen
    assert not [canary for canary in CANARIES if canary in seen]
    assert (len(secrets), modes) == (2, {0o600, 0})
    assert not [path for path in _files_below(Path(state.root)) if any(one in path.read_bytes() for one in CANARIES)]


@pytest.mark.parametrize("scheme", ["rest:http://user:canary-url-pw@", "s3:http://"])
def test_urls_and_keys_reach_restic_by_file(
    make_repository: MakeRepository, undo: RunUndo, closed_port: int, scheme: str
) -> None:
    env = {"AWS_ACCESS_KEY_ID": Secret("AKIACANARY"), "AWS_SECRET_ACCESS_KEY": Secret("canary/secret+key=")}
    repository = make_repository(url=f"{scheme}127.0.0.1:{closed_port}/bucket/x", env=env, connect=1.0)
    running = repository.backup_stream("x", ["/bin/true"], tags("stream"), undo)
    seen = b"\n".join(map(_words_of, filter(str.isdigit, os.listdir("/proc"))))
    with pytest.raises(RepositoryUnreachable, match="connection refused"):  # and not "no credentials"
        running.wait()
    assert b"restic" in seen
    assert not [canary for canary in CANARIES if canary in seen]
