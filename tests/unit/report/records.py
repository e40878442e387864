"""Records for the tests of reports."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestrator.model.execution import Finding
from orchestrator.model.record import (
    Event,
    Forgotten,
    ItemRecord,
    RepositoryRecord,
    RunRecord,
    ServiceRecord,
    SourceRecord,
)

START = datetime(2026, 6, 15, 2, tzinfo=UTC)
MAIN = SourceRecord(
    "main", "sqlite", "taken", (ItemRecord("all", "dumps", "/main.all.sql", 1536, "a" * 64),), seconds=0.42
)
FILES = SourceRecord("files", "files", "taken", (ItemRecord("all", "paths", "/", 4096, None),), seconds=75)
BROKEN = SourceRecord(
    "mail",
    "postgresql",
    "failed",
    error="server 10.0.0.9 does not answer",
    hint="start it",
    exit_code=4,
    findings=(Finding("warning", "old server", "update it"),),
)
SERVICE = ServiceRecord(
    "hub",
    "default",
    (MAIN, FILES),
    point="hub.default@20260615T020000Z-abcdef",
    time=START,
    commit="c" * 64,
    snapshots={"dumps": "d" * 64, "paths": "e" * 64, "commit": "c" * 64},
)
RUN = RunRecord(
    id="20260615T020000Z-abcdef",
    command="backup",
    host="hub-01",
    started=START,
    ended=START + timedelta(seconds=187),
    result="success",
    exit_code=0,
    services=(SERVICE,),
    repositories=(RepositoryRecord("local", "/srv/repository", added=2048, retention="forgot 1 restore points"),),
    forgotten=(Forgotten("hub.default@20260101T020000Z-000000", "local", ("f" * 64,), "no keep-rule wants it"),),
    events=(Event(START, "run.succeeded", "success", "backup success"),),
)
FAILED = replace(
    RUN,
    result="partial",
    exit_code=3,
    services=(replace(SERVICE, sources=(MAIN, FILES, BROKEN)),),
    forgotten=(),
    events=(
        Event(START, "source.failed", "failed", BROKEN.error, service="hub", source="mail", hint="start it"),
        Event(START, "run.partial", "partial", "backup partial"),
    ),
)
