from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import pytest

from orchestrator.adapters.sentinel import is_removable
from orchestrator.adapters.state import StateFolder
from orchestrator.model.errors import RightsMissing


def test_the_id_is_of_the_real_path(tmp_path: Path) -> None:
    real = tmp_path / "a b\n%ü.yml"
    real.write_text("version: 1")
    (tmp_path / "link.yml").symlink_to(real)
    expected = hashlib.sha256(os.fsencode(real.resolve())).hexdigest()[:12]
    assert StateFolder(str(real)).id == StateFolder(str(tmp_path / "link.yml")).id == expected


def test_folders_are_private_and_made_when_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "state"
    state = StateFolder("policy.yml", {"RESGUARDO_STATE": str(root)})
    assert not root.exists()
    assert state.catalog == str(root / "catalog.db")
    for folder in (state.holds, state.cache, state.logs, state.last_good, state.runtime, state.disk):
        assert Path(folder).parent == root
        assert Path(folder).stat().st_mode & 0o7777 == 0o700
    assert root.stat().st_mode & 0o7777 == 0o700


AS_USER = """
import os, sys
from orchestrator.adapters.state import StateFolder
os.seteuid(int(sys.argv[1]))
state = StateFolder("policy.yml", {"XDG_STATE_HOME": sys.argv[2]})
print(state.root, state.runtime, state.id)
"""


@pytest.mark.root
def test_xdg_state_home_for_a_user(tmp_path: Path) -> None:
    place = Path(mkdtemp(dir="/var/tmp"))
    try:
        os.chown(place, 12345, 12345)
        argv = [sys.executable, "-c", AS_USER, "12345", str(place)]
        root, runtime, number = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
        assert root == str(place / "resguardo" / number)
        assert runtime == f"{root}/runtime"
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    root = tmp_path / "state"
    root.mkdir()
    root.chmod(mode)
    with pytest.raises(RightsMissing, match=f"writable by others .mode {mode:04o}"):
        _ = StateFolder("policy.yml", {"RESGUARDO_STATE": str(root)}).root


@pytest.mark.root
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir(mode=0o700)
    os.chown(root, 12345, 12345)
    with pytest.raises(RightsMissing, match="belongs to user 12345, not to 0"):
        _ = StateFolder("policy.yml", {"RESGUARDO_STATE": str(root)}).root


def test_a_planted_link_or_file_is_refused(tmp_path: Path) -> None:
    state = StateFolder("policy.yml", {"RESGUARDO_STATE": str(tmp_path / "state")})
    (tmp_path / "elsewhere").mkdir()
    Path(state.root, "holds").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RightsMissing, match="not a directory"):
        _ = state.holds
    (tmp_path / "file").write_text("")
    with pytest.raises(RightsMissing, match=r"File exists|Not a directory"):
        _ = StateFolder("policy.yml", {"RESGUARDO_STATE": str(tmp_path / "file" / "state")}).root


def test_staging_below_a_folder_of_the_users_own(tmp_path: Path) -> None:
    state = StateFolder("policy.yml", {"RESGUARDO_STATE": str(tmp_path / "state")})
    assert state.staging == state.staging_path == f"{state.runtime}/staging"
    (tmp_path / "link").symlink_to(tmp_path / "big disk")
    state.use_staging(str(tmp_path / "link"))
    expected = tmp_path / "big disk" / f"resguardo-{state.id}"
    assert state.staging_path == str(expected)
    assert not expected.exists()
    assert state.staging == str(expected)
    assert expected.stat().st_mode & 0o7777 == 0o700
    (tmp_path / "big disk" / "mine").write_text("not resguardo's")
    assert is_removable(f"{expected}/shop/default", state.removable())
    for other in (f"{tmp_path}/big disk/mine", str(expected), f"{expected}-2/x"):
        assert not is_removable(other, state.removable())
    state.use_staging("auto")
    assert state.staging == f"{state.runtime}/staging"


@pytest.mark.parametrize("mode", [0o770, 0o777])
def test_staging_where_others_could_exchange_it_is_refused(tmp_path: Path, mode: int) -> None:
    state = StateFolder("policy.yml", {"RESGUARDO_STATE": str(tmp_path / "state")})
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    state.use_staging(str(tmp_path / "open"))
    with pytest.raises(RightsMissing, match=f"writable by others .mode {mode:04o}") as caught:
        _ = state.staging
    assert "staging.dir" in str(caught.value.hint)
    (tmp_path / "open").chmod(mode | 0o1000)
    assert state.staging.startswith(f"{tmp_path}/open/")
    os.chmod(state.staging, 0o770)
    with pytest.raises(RightsMissing, match=r"writable by others .mode 0770"):
        _ = state.staging


def test_staging_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    state = StateFolder("policy.yml", {"RESGUARDO_STATE": str(tmp_path / "state")})
    (tmp_path / "file").write_text("")
    state.use_staging(str(tmp_path / "file"))
    with pytest.raises(RightsMissing, match=r"staging folder .*Not a directory|File exists") as caught:
        _ = state.staging
    assert "staging.dir" in str(caught.value.hint)
