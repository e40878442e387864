"""What sources of every database server share: who we are there, and the files that protect the connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.engines._mysql.connection import connect, target_of
from orchestrator.engines._server import ServerOptions, Tls, login
from orchestrator.engines.mariadb import ENGINE
from orchestrator.model.engine import Source
from orchestrator.model.errors import Precondition
from orchestrator.model.execution import Executor
from orchestrator.model.secret import Secret


class Here:
    """An executor on this host that starts nothing."""

    place = ""

    def address(self, address: Any) -> Any:
        return address


def source_of(options: Any, told: list[Secret] | None = None) -> Source:
    def hide(secret: Secret) -> None:
        if told is not None:
            told.append(secret)

    return Source("shop", "main", "mariadb", "t", 9.0, options, lambda ref: Secret(f"of {ref.env}"), hide=hide)


@pytest.mark.parametrize(
    ("given", "purpose", "expected"),
    [
        ({}, "dump", (None, None, "")),
        ({"user": "a"}, "restore", ("a", None, "")),
        ({"user": "a", "password": {"env": "A"}}, "restore", ("a", "of A", "")),
        ({"user": "a", "password": {"env": "A"}, "restore_user": "b"}, "dump", ("a", "of A", "")),
        ({"user": "a", "password": {"env": "A"}, "restore_user": "b"}, "restore", ("b", None, "restore_")),
        ({"restore_user": "b", "restore_password": {"env": "B"}}, "restore", ("b", "of B", "restore_")),
    ],
)
def test_who_we_are(given: dict[str, Any], purpose: Any, expected: tuple[Any, ...]) -> None:
    told: list[Secret] = []
    options = ServerOptions.model_validate(given, context={"directory": "/"})
    user, password, prefix = login(source_of(options, told), purpose)
    assert (user, password.reveal() if password else None, prefix) == expected
    assert told == ([password] if password else [])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    tls = Tls.model_validate({"ca": "gone.pem"}, context={"directory": str(tmp_path)})
    with pytest.raises(Precondition, match=f"mariadb at db: tls.ca: '{tmp_path}/gone.pem' cannot be read: No such"):
        tls.check_files("mariadb at db")


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, here: Executor) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    given = {"host": "127.0.0.1", "port": 1, "user": "a", "tls": {"ca": "ca.pem"}}
    options = ENGINE.Options.model_validate(given, context={"directory": str(tmp_path)})
    with pytest.raises(Precondition, match=f"files of tls cannot be used: .*'{tmp_path}/ca.pem'"):
        connect(target_of(source_of(options), here))


@pytest.fixture
def here() -> Executor:
    made: Any = Here()
    return made
