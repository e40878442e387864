"""Both files together: what a valid pair gives."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from orchestrator import engines
from orchestrator.policy import SourceConfig, load
from orchestrator.policy.retention import UNLIMITED
from tests.unit.policy.files import OPTIONS, POLICY, SERVICES, Book, Files, loaded, write


def test_defaults(tmp_path: Path) -> None:
    policy = loaded(tmp_path).policy
    assert (policy.timezone, policy.parallel, policy.timeout) == ("UTC", 2, 6 * 3600)
    assert (policy.health.max_age, policy.health.min_free, policy.health.max_duration) == (26 * 3600, 1 << 30, None)
    assert (policy.staging.dir, policy.staging.max, policy.staging.source) == ("auto", 256 << 20, 32 << 20)
    assert (policy.logs.keep, policy.logs.size) == (7 * 86400, 10 << 20)
    restic = policy.restic
    assert (restic.path, restic.compression, restic.upload, restic.download) == (None, "auto", None, None)
    assert (restic.nice, restic.ionice, restic.retry_lock) == (10, "idle", 300)
    assert (policy.tidy.forget, policy.tidy.prune) == (7 * 86400, 7 * 86400)
    assert (policy.check.every, policy.check.data) == (7 * 86400, "5%")
    assert (policy.retention.guard.max_forget, policy.retention.guard.keep_proven) == (0.3, 1)
    assert (policy.jobs, policy.notify.channels, policy.notify.rules) == ({}, {}, [])


def test_all_that_can_be_said(tmp_path: Path) -> None:
    policy = loaded(
        tmp_path,
        """\
version: 1
host: hub-01
timezone: Europe/Madrid
parallel: ${PARALLEL:-4}
timeout: 1h30m
repositories:
  offsite:
    url: s3:https://s3.example/hub
    password: {command: pass show "hub key"}
    env: {AWS_ACCESS_KEY_ID: AKIA, AWS_SECRET_ACCESS_KEY: {file: s3.key}}
    options: {s3.connections: 10, s3.unsafe-anonymous-auth: false}
    retention: {cache: {last: 1}}
retention:
  default: {last: unlimited, hourly: 1, daily: 2, weekly: 3, monthly: 4, yearly: 5}
  cache: {within: 7d, within_hourly: 36h, within_daily: 8d, within_weekly: 1m, within_monthly: 1y, within_yearly: 9y}
  guard: {max_forget: 50%, keep_proven: 2}
jobs:
  nightly: {at: "@daily", do: backup, services: [shop]}
  tidy: {at: "0 3 * * sun", do: prune}
health: {max_age: 2d, min_free: 10GiB, max_duration: 1h}
notify:
  channels: {ops: {url: {env: OPS}}}
  rules: [{on: [failed, run.killed, "source.*"], to: [ops]}]
staging: {dir: stage, max: 1GiB, source: 64MiB}
logs: {keep: 30d, size: 1MiB}
restic:
  {path: bin/restic, compression: max, upload: 10MiB, download: 1GiB/s, nice: ~, ionice: best-effort, retry_lock: 0s}
tidy: {forget: 1d, prune: 30d}
check: {every: 1d, data: ~}
""",
    ).policy
    repository = policy.repositories["offsite"]
    assert policy.parallel == 4
    assert policy.timeout == 5400
    assert repository.url == "s3:https://s3.example/hub"
    assert repository.password.command == ("pass", "show", "hub key")
    assert repository.env["AWS_ACCESS_KEY_ID"] == "AKIA"
    assert getattr(repository.env["AWS_SECRET_ACCESS_KEY"], "file", None) == str(tmp_path / "s3.key")
    assert repository.options == {"s3.connections": "10", "s3.unsafe-anonymous-auth": "false"}
    assert repository.retention is not None
    assert repository.retention["cache"].last == 1
    assert policy.retention.tiers["default"].last == UNLIMITED
    assert policy.retention.tiers["cache"].within_weekly == "1m"
    assert policy.retention.guard.max_forget == 0.5
    assert policy.jobs["nightly"].at == "0 0 * * *"
    assert policy.jobs["nightly"].services == ["shop"]
    assert policy.notify.channels["ops"].url.env == "OPS"
    assert policy.notify.rules[0].on == ["failed", "run.killed", "source.*"]
    assert policy.staging.dir == str(tmp_path / "stage")
    assert policy.restic.path == str(tmp_path / "bin/restic")
    assert (policy.restic.upload, policy.restic.download, policy.restic.nice) == (10240, 1048576, None)
    assert policy.check.data is None


def test_sources_with_their_options(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        services="""\
services:
  shop:
    timeout: 2h
    databases:
      main: {engine: book, path: data/../shop.db, pages: 3, password: {file: key}}
      sessions: {engine: book, path: /srv/s.db, tier: cache, timeout: 5m}
      old: {engine: book, path: old.db, enabled: false}
    paths: [files, /srv/x/]
    exclude: ["*.log"]
  wiki: {tier: cache, paths: [wiki]}
  off: {enabled: false, paths: [off]}
""",
    )
    here = str(tmp_path)
    secret = {"file": f"{here}/key"}
    assert config.services["shop"].sources == (
        SourceConfig(
            "shop",
            "main",
            "book",
            "default",
            7200,
            Book.model_validate({"path": f"{here}/shop.db", "pages": 3, "password": secret}),
        ),
        SourceConfig("shop", "sessions", "book", "cache", 300, Book(path="/srv/s.db")),
        SourceConfig(
            "shop", "files", "files", "default", 7200, Files(paths=[f"{here}/files", "/srv/x"], exclude=["*.log"])
        ),
    )
    assert [source.tier for source in config.services["wiki"].sources] == ["cache"]
    assert config.services["off"].sources == ()
    assert not config.services["off"].enabled
    assert [f"{source.service}/{source.name}" for source in config.sources] == [
        "shop/main",
        "shop/sessions",
        "shop/files",
        "wiki/files",
    ]


def test_paths_start_at_the_policy(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    assert config.directory == str(tmp_path)
    assert config.policy_path == str(tmp_path / "policy.yml")
    assert config.policy.repositories["local"].url == str(tmp_path / "var/repository")
    assert config.policy.repositories["local"].password.file == str(tmp_path / "var/repository.key")


def test_a_linked_policy_is_the_one_that_it_points_to(tmp_path: Path) -> None:
    real, other = tmp_path / "real", tmp_path / "other"
    real.mkdir()
    other.mkdir()
    write(real)
    (other / "backup.yml").symlink_to(real / "policy.yml")
    config = load(str(other / "backup.yml"), OPTIONS, {})
    assert config.policy_path == str(real / "policy.yml")
    assert config.policy.repositories["local"].url == str(real / "var/repository")


def test_local_url(tmp_path: Path) -> None:
    config = loaded(tmp_path, POLICY.replace("url: var/repository", "url: local:var/r:x"))
    assert config.policy.repositories["local"].url == str(tmp_path / "var/r:x")


def test_the_other_file_may_have_another_name(tmp_path: Path) -> None:
    (tmp_path / "what.yml").write_text(SERVICES)
    config = loaded(tmp_path, POLICY + "services_file: what.yml\n", "services: nonsense\n")
    assert list(config.services) == ["shop"]
    assert config.texts["services.yml"] == SERVICES


def test_texts_and_digest(tmp_path: Path) -> None:
    config = loaded(tmp_path, POLICY + "parallel: ${N}\n", N="3")
    assert config.texts == {"policy.yml": POLICY + "parallel: ${N}\n", "services.yml": SERVICES}
    assert len(config.sha256) == len(hashlib.sha256().hexdigest())
    assert loaded(tmp_path, POLICY + "parallel: ${N}\n", N="4").sha256 == config.sha256
    moved = loaded(tmp_path, POLICY + "parallel: ${N}\n#\n", N="4").sha256
    assert moved != config.sha256


def test_a_password_in_a_url_may_come_from_outside(tmp_path: Path) -> None:
    policy = POLICY.replace("url: var/repository", 'url: "rest:https://u:${REST}@x/"')
    assert loaded(tmp_path, policy, REST="s3cret").policy.repositories["local"].url == "rest:https://u:s3cret@x/"
    assert "s3cret" not in loaded(tmp_path, policy, REST="s3cret").texts["policy.yml"]


def test_shipped_files_are_valid_and_name_their_schema() -> None:
    root = Path(__file__).parents[3]
    config = load(str(root / "policy.yml"), engines.Options(), {})
    assert [(source.name, source.engine) for source in config.sources] == [("main", "sqlite"), ("files", "files")]
    assert config.policy.repositories["local"].url == str(root / "var/repository")
    for name in ("policy", "services"):
        first = (root / f"{name}.yml").read_text().splitlines()[0]
        assert first == f"# yaml-language-server: $schema=docs/reference/{name}.schema.json"
        assert os.path.exists(root / "docs/reference" / f"{name}.schema.json")
