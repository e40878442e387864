"""Small things that this suite's tests share."""

from __future__ import annotations

from orchestrator.model.repository import Part, SnapshotTags
from tests.conftest import RUN


def tags(part: Part = "paths", service: str = "shop") -> SnapshotTags:
    """The tags of a snapshot of one run."""
    return SnapshotTags(service, "default", RUN, part)
