"""Owner and mode of a restored file: given where we may, told where we may not."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.engines._owner import give, owner_of
from orchestrator.model.owner import Owner
from tests.engines.nobody import NOBODY, as_nobody


@pytest.fixture
def file() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:  # others may look into it, unlike pytest's own
        path = Path(folder) / "a file"
        path.write_bytes(b"x")
        path.chmod(0o600)
        yield str(path)


def test_names_and_numbers_are_noted(file: str) -> None:
    owner = owner_of(os.stat(file))
    assert (owner.user, owner.uid, owner.mode) == (pwd.getpwuid(os.geteuid()).pw_name, os.geteuid(), "0600")


@pytest.mark.root
def test_a_name_counts_more_than_its_number(file: str) -> None:
    nobody = pwd.getpwuid(NOBODY).pw_name
    assert give(file, Owner(nobody, "", 4711, 4712, "0640")) == ()
    status = os.stat(file)
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (NOBODY, 4712, 0o640)


@pytest.mark.root
def test_a_user_who_is_not_here_is_told(file: str) -> None:
    (note,) = give(file, Owner("no such user", "", 4711, 4712, "0644"))
    assert "no user 'no such user'" in note.message
    assert note.hint is not None
    assert "chown no such user:4712 FILE" in note.hint
    assert os.stat(file).st_uid == 4711


def test_own_file_needs_no_rights(file: str) -> None:
    owner = owner_of(os.stat(file))
    assert give(file, Owner(owner.user, owner.group, owner.uid, owner.gid, "0640")) == ()
    assert os.stat(file).st_mode & 0o7777 == 0o640


@pytest.mark.root
def test_what_may_not_be_given_stays_private_and_is_told(file: str) -> None:
    os.chown(file, NOBODY, NOBODY)
    os.chmod(Path(file).parent, 0o755)
    said = as_nobody(lambda: give(file, Owner("root", "root", 0, 0, "0644"))[0])
    assert "root:root with mode 0644" in said
    assert "chown root:root FILE && chmod 0644 FILE" in said
    assert os.stat(file).st_mode & 0o7777 == 0o600
