"""What can be said of each source before anything is dumped: the same in every plan and in `doctor`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.model.errors import ResguardoError, RightsMissing, ServerUnreachable, ToolMissing
from orchestrator.planning.backup import PlannedSource, Trouble, TroubleKind

Rights = Literal["enough", "missing", "unknown"]
# kinds of trouble that say more than that a source cannot be dumped
_KINDS: tuple[tuple[type[ResguardoError], TroubleKind], ...] = (
    (ServerUnreachable, "unreachable"),
    (RightsMissing, "rights"),
    (ToolMissing, "tool"),
)


@dataclass(frozen=True)
class Preflight:
    """One source as a probe saw it.

    reachable: None when the probe ended before that was known · rights: enough to read all of it · server, tool: with
    their versions, "" when unknown · container: inside which the tools run, "" on this host · items, bytes: what would
    be stored, None when unknown · seconds: what it usually takes, None before the first run · error, hint: why it
    cannot be dumped (of missing rights: which, and what to grant).
    """

    source: str
    engine: str
    reachable: bool | None
    rights: Rights
    server: str = ""
    tool: str = ""
    container: str = ""
    image: str = ""
    items: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    error: str = ""
    hint: str | None = None


def trouble_of(error: ResguardoError) -> Trouble:
    """Return why a source is not dumped, from what its probe raised."""
    kind: TroubleKind = next((kind for raised, kind in _KINDS if isinstance(error, raised)), "")
    return Trouble(error.message, error.hint, error.exit_code, kind)


def preflight(seen: PlannedSource) -> Preflight:
    """Return what was seen of a source."""
    kind = seen.trouble.kind if seen.trouble else ""
    known = seen.trouble is None or bool(seen.server or seen.items)
    sizes = [planned.item.bytes for planned in seen.items]
    return Preflight(
        source=seen.source.id,
        engine=seen.source.engine,
        reachable=False if kind == "unreachable" else True if known or kind in {"rights", "found"} else None,
        rights="missing" if kind == "rights" else "enough" if known else "unknown",
        server=seen.server,
        tool=seen.tool,
        container=seen.source.container,
        image=seen.image,
        items=len(sizes) if known else None,
        bytes=sum(size or 0 for size in sizes) if known and None not in sizes else None,
        seconds=seen.history.seconds if seen.history else None,
        error=seen.trouble.message if seen.trouble else "",
        hint=seen.trouble.hint if seen.trouble else None,
    )
