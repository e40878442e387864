"""`resguardo init`: each missing file is written by itself, and a lost key is never replaced."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.e2e.site import Site


def test_a_missing_inventory_is_written_where_the_policy_wants_it(site: Site) -> None:
    (site.root / "services.yml").unlink()
    before = (site.root / "policy.yml").read_bytes()
    assert site.json("init")["written"] == [str(site.root / "services.yml")]
    site.policy("services_file: conf d/what.yml")
    named = str(site.root / "conf d" / "what.yml")
    assert site.json("init")["written"] == [named]
    assert site.json("init")["written"] == []
    site.policy()
    assert (site.root / "policy.yml").read_bytes() == before
    site.run("validate")


def test_beside_a_policy_that_cannot_be_read_nothing_is_written(site: Site) -> None:
    (site.root / "services.yml").unlink()
    (site.root / "policy.yml").write_text("version: [\n")
    site.run("init", code=2)
    assert not (site.root / "services.yml").exists()


def test_a_lost_key_is_not_replaced(site: Site) -> None:
    key = site.root / "key"
    kept = key.read_text()
    key.unlink()
    for _ in range(2):
        done = site.run("init", code=4)
        assert f"repository local exists and its key is missing: {key}" in done.stderr
        assert "HINT: put the key back" in done.stderr
        assert not key.exists()
    key.write_text(kept)
    key.chmod(0o600)
    site.run("backup")


def test_neither_key_nor_repository_is_made_where_a_disk_is_missing(site: Site) -> None:
    """The key is on the disk that is not mounted, or was lost with it; another disk may stand there instead."""
    site.run("backup")
    repository, away = site.root / "repository", site.root / "unplugged"
    repository.rename(away)
    assert "is its disk mounted" in site.run("backup", code=4).stderr
    assert "is its disk mounted" in site.run("doctor", code=1).stdout
    kept = (site.root / "key").read_text()
    (site.root / "key").unlink()
    assert "HINT: is its disk mounted" in site.run("init", code=4).stderr
    assert not (site.root / "key").exists()
    assert not repository.exists()
    (site.root / "key").write_text(kept)
    (site.root / "key").chmod(0o600)
    site.run("init", "--replace-lost")
    assert [point["lost"] for point in site.points()] == [True]
    shutil.rmtree(repository)
    away.rename(repository)
    site.run("backup")
    assert [point["lost"] for point in site.points()] == [False, False]


def test_no_new_key_stays_for_a_repository_that_cannot_be_asked(site: Site) -> None:
    key = site.root / "key"
    key.unlink()
    policy = site.root / "policy.yml"
    policy.write_text(policy.read_text().replace(f"path: {site.restic}", "path: /nonexistent/restic"))
    assert "/nonexistent/restic" in site.run("init", code=4).stderr
    assert not key.exists()


def test_a_key_that_cannot_be_written(site: Site) -> None:
    (site.root / "file").write_text("")
    policy = site.root / "policy.yml"
    policy.write_text(policy.read_text().replace("file: key", "file: file/below/new"))
    done = site.run("init", code=4)
    assert f"cannot write {site.root}/file/below: not a directory" in done.stderr
    assert "HINT:" in done.stderr


def test_a_starter_that_cannot_be_written(site: Site) -> None:
    (site.root / "file").write_text("")
    site.env["RESGUARDO_STATE"] = str(site.root / "other-state")
    done = site.run("-c", str(site.root / "file" / "policy.yml"), "init", code=4)
    assert f"cannot write {site.root}/file" in done.stderr
    assert "HINT:" in done.stderr


def test_a_new_installation_as_documented(site: Site, tmp_path: Path) -> None:
    place = tmp_path / "new place"
    site.env["RESGUARDO_STATE"] = str(tmp_path / "new-state")
    site.env["PATH"] = f"{_on_path(site, tmp_path)}:{os.environ['PATH']}"
    done = site.run("--json", "-c", str(place / "policy.yml"), "init")
    written = json.loads(done.stdout)["written"]
    assert [Path(path).name for path in written] == ["policy.yml", "services.yml", "repository.key"]
    assert (place / "var" / "repository.key").stat().st_mode & 0o777 == 0o600
    assert (place / "example").is_dir()


def _on_path(site: Site, tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "restic").symlink_to(site.restic)
    return folder
