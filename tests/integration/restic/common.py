"""Small things that this suite's tests share."""

from __future__ import annotations

import os

from orchestrator.adapters.restic import ResticRepository
from orchestrator.model.repository import Part, SnapshotTags
from tests.conftest import RUN


def tags(part: Part = "paths", service: str = "shop") -> SnapshotTags:
    """The tags of a snapshot of one run."""
    return SnapshotTags(service, "default", RUN, part)


def stored(repository: ResticRepository, kind: str = "snapshots") -> list[str]:
    """What lies in a folder of a local repository: cheaper than asking restic, and it cannot err."""
    return os.listdir(os.path.join(str(repository.local_path()), kind))
