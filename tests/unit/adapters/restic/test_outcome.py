"""Exit codes and words become errors; whole texts are asserted."""

from __future__ import annotations

import json

import pytest

from orchestrator.adapters.redaction import redact, redact_url
from orchestrator.adapters.restic import outcome
from orchestrator.adapters.restic.outcome import Outcome
from orchestrator.model.errors import (
    DeadlineExceeded,
    DiskFull,
    Precondition,
    RepositoryLocked,
    RepositoryMissing,
    RepositoryUnreachable,
    ResguardoError,
    RightsMissing,
    WrongPassword,
)
from orchestrator.model.execution import Exit

LOCKED = (
    "unable to create lock in backend: repository is already locked exclusively by PID 88 on another-host "
    "by root (UID 0, GID 0)\n"
    "lock was created at 2026-11-21 10:05:56 (4.01s ago)\nstorage ID 0f9b977b\nthe `unlock` command can be used"
)


def _ended(code: int, message: str = "", *, plain: str = "", signal: int | None = None, **more: object) -> Outcome:
    stderr = plain + (json.dumps({"message_type": "exit_error", "code": code, "message": message}) if message else "")
    timed_out = bool(more.pop("timed_out", False))
    return Outcome("backup", "repository local", Exit(code, signal, timed_out=timed_out), "", stderr, **more)  # type: ignore[arg-type]


CASES = [
    (_ended(10, url="/srv/r"), RepositoryMissing, "repository local: there is none at /srv/r"),
    (_ended(12, "Fatal: wrong password"), WrongPassword, "the password of repository local is wrong"),
    (
        _ended(11, LOCKED),
        RepositoryLocked,
        "repository local is locked exclusively by PID 88 on another-host (root) for 4.01s",
    ),
    (_ended(11, "odd words"), RepositoryLocked, "repository local is locked: odd words"),
    (
        _ended(1, "Fatal: unable to save snapshot: write /r/x: no space left on device"),
        DiskFull,
        (
            "no space left for restic backup on repository local: "
            "unable to save snapshot: write /r/x: no space left on device"
        ),
    ),
    (
        _ended(1, "Fatal: all source directories/files do not exist"),
        Precondition,
        "none of the paths to store in repository local is there",
    ),
    (
        _ended(1, "Fatal: dial tcp: lookup nowhere: no such host"),
        RepositoryUnreachable,
        "the server of repository local cannot be used: dial tcp: lookup nowhere: no such host",
    ),
    (
        _ended(1, "Fatal: unable to open config file: stat /r/config: permission denied", local=True),
        RightsMissing,
        (
            "restic backup failed on repository local (exit 1): "
            "unable to open config file: stat /r/config: permission denied"
        ),
    ),
    (
        _ended(1, "context canceled", timed_out=True, deadline=5.0),
        DeadlineExceeded,
        "restic backup on repository local outlived its deadline of 5 s",
    ),
    (
        _ended(130, "interrupted", unreachable="connection refused"),
        RepositoryUnreachable,
        "the server of repository local cannot be used: connection refused",
    ),
    (_ended(130, stopped=True), ResguardoError, "restic backup on repository local was stopped"),
    (
        _ended(77, plain="one\ntwo\nthree\nfour\n"),
        ResguardoError,
        "restic backup failed on repository local (exit 77): two; three; four",
    ),
    (_ended(137, signal=9), ResguardoError, "restic backup failed on repository local (exit 137)"),
    (_ended(3), ResguardoError, "restic backup failed on repository local (exit 3)"),
]


@pytest.mark.parametrize(("ended", "kind", "message"), CASES)
def test_failures(ended: Outcome, kind: type[ResguardoError], message: str) -> None:
    with pytest.raises(ResguardoError) as caught:
        outcome.raise_unless(ended)
    assert (type(caught.value), caught.value.message) == (kind, message)


def test_accepted_ends() -> None:
    outcome.raise_unless(_ended(0))
    outcome.raise_unless(_ended(3), outcome.PARTIAL)
    with pytest.raises(ResguardoError):
        outcome.raise_unless(_ended(0, timed_out=True))


def test_a_local_path_that_speaks_of_networks_is_not_unreachable() -> None:
    error = outcome.classify(_ended(1, "stat /connection refused: not a directory", local=True))
    assert type(error) is ResguardoError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rest:https://user:p%40ss:w0rd@host:8000/x", "rest:https://user:***@host:8000/x"),
        ("rest:https://:secret@host/x", "rest:https://:***@host/x"),
        ("rest:https://user:a@b@host/x", "rest:https://user:***@host/x"),
        ("rest:https://host:8000/x", "rest:https://host:8000/x"),
        ("sftp://user@host:2222//x", "sftp://user@host:2222//x"),
        ("sftp:user@host:/x", "sftp:user@host:/x"),
        ("/srv/a:b@c", "/srv/a:b@c"),
    ],
)
def test_urls_are_shown_without_passwords(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_given_secrets_are_hidden_and_short_ones_do_not_blank_words() -> None:
    assert redact("key canary-1 at a", ["canary-1", "a"]) == "key *** at a"
