"""What a traceback in a crash file tells, and what not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.adapters.state import StateFolder
from orchestrator.cli.crash import leave_out, write_crash
from orchestrator.model.secret import Secret

CANARY = "c4nary/P@ss w0rd"


def crash(policy: Path) -> Path:
    error = RuntimeError(f"cannot open rest:https://user:url-canary@host/x with {CANARY!r}")
    return Path(write_crash(error, str(policy)))


def test_secrets_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESGUARDO_STATE", str(tmp_path / "state"))
    leave_out(lambda: [Secret(CANARY)])
    logs = StateFolder(str(tmp_path / "policy.yml")).logs
    written = crash(tmp_path / "policy.yml")
    text = written.read_text()
    assert os.path.dirname(written) == logs
    assert "RuntimeError: cannot open rest:https://user:***@host/x with '***'" in text
    assert CANARY not in text
    assert "url-canary" not in text
    assert written.stat().st_mode & 0o777 == 0o600


def test_it_makes_no_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESGUARDO_STATE", str(tmp_path / "state"))
    written = crash(tmp_path / "policy.yml")
    try:
        assert not (tmp_path / "state").exists()
        assert written.is_file()
    finally:
        written.unlink()
