"""Named failpoints: places at which a test lets the program die as by `kill -9`.

`RESGUARDO_FAILPOINT=<name>` (or `<name>:<count>`: at the count-th passage) makes `reach(name)` append the name to
`RESGUARDO_FAILPOINT_FILE` and kill the process. Without the variable nothing happens. Children get a clean
environment, so only the process that was started with the variable dies.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Final

from orchestrator.model.errors import Bug

FAILPOINTS: Final[dict[str, str]] = {
    # the life of a run
    "lock.taken": "the run lock is held, nothing was written",
    "run.begun": "the catalog knows that the run began",
    "probe.done": "every source was looked at",
    # storing
    "commit.started": "the commit's restic was started, its pump waits",
    "staging.made": "the staging directory exists and is empty",
    "staging.dump.done": "a dump was written into the staging directory",
    "staging.stored": "restic stored the staged dumps",
    "stream.started": "a stream's restic was started",
    "stream.fed": "the pump has the dump's descriptor",
    "stream.reported": "the pump reported the end of the stream; no verdict was given",
    "stream.verdict": "the verdict was given; restic has not ended",
    "paths.started": "restic reads a service's paths",
    "paths.stored": "restic stored a service's paths",
    "manifest.fed": "the manifest went to the commit's pump",
    "manifest.verdict": "the commit's verdict was given; restic has not ended",
    "commit.stored": "the commit is in the repository; the catalog does not know",
    "catalog.recorded": "the catalog mirrors the restore point",
    # afterwards
    "retention.listed": "the repository was listed, nothing was forgotten",
    "retention.commits_forgotten": "the commits of old restore points are gone, their data is not",
    "retention.forgotten": "all that retention removes is gone; the catalog does not know",
    "prune.started": "the space of what was forgotten is about to be freed",
    "check.started": "the repository is about to be checked",
    "notify.queued": "a notification is in the outbox and was not sent",
    # restoring
    "restore.started": "the plan was printed, nothing was made",
    "restore.loaded": "the data stands under its new name, unverified",
    "restore.verified": "the data stands under its new name and was verified",
    "restore.aside": "a restored tree has the kept copy's name, the original is in its place",
    "restore.exchanged": "a restored tree took its original's place, the original has the kept copy's name",
    "restore.parted": "where paths cannot be exchanged in one step: the original is renamed, its name is free",
    "restore.swapped": "the data took the original's place",
    # children and what is undone
    "journal.created": "the journal exists, the sentinel does not",
    "journal.appended": "the sentinel acknowledged an action",
    "child.blocked": "a child was started and waits, nobody knows it",
    "child.acknowledged": "the sentinel knows a child that still waits",
    "child.released": "a child was let go",
    "child.reaped": "a child ended; the journal still names it",
    "secret.written": "a secret was written to its private file; its tool was not started",
    "intake.listening": "a pump's socket exists, nobody has connected",
    "intake.connected": "a pump has connected and waits for its descriptor",
}

_passages: Counter[str] = Counter()


def reach(name: str) -> None:
    """Die here when the environment says so; raises Bug for a name that is not declared."""
    if name not in FAILPOINTS:
        raise Bug(f"failpoint {name!r} is not declared")
    wanted, _, count = os.environ.get("RESGUARDO_FAILPOINT", "").partition(":")
    if wanted != name:
        return
    _passages[name] += 1
    if _passages[name] == int(count or 1):
        _die(name)


def _die(name: str) -> None:
    witness = os.environ.get("RESGUARDO_FAILPOINT_FILE")
    if witness:
        with open(witness, "a", encoding="utf-8") as stream:
            stream.write(f"{name}\n")
            stream.flush()
            os.fsync(stream.fileno())
    os.kill(os.getpid(), signal.SIGKILL)
