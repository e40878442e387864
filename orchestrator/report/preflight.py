"""What is known of each source before a backup: a line, and a table of all."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.planning.preflight import Preflight
from orchestrator.report.table import table
from orchestrator.report.units import count, duration, size

_HEADS = ("SOURCE", "REACHABLE", "RIGHTS", "SERVER", "TOOL", "RUNS", "SIZE", "USUALLY")
_ANSWERS = {True: "yes", False: "no", None: "?"}


def preflight_text(seen: Sequence[Preflight]) -> str:
    """Return one row per source."""
    return table(_HEADS, [_row(source) for source in seen], right=(6, 7)) if seen else ""


def _row(seen: Preflight) -> tuple[str, ...]:
    return (
        seen.source,
        _ANSWERS[seen.reachable],
        "?" if seen.rights == "unknown" else seen.rights,
        seen.server or "-",
        seen.tool or "-",
        _where(seen),
        "?" if seen.bytes is None else size(seen.bytes),
        "-" if seen.seconds is None else duration(seen.seconds),
    )


def preflight_line(seen: Preflight) -> str:
    """Return what was seen of a source that can be dumped, as a sentence."""
    about = f", about {size(seen.bytes)}" if seen.bytes else ""
    usual = f", usually {duration(seen.seconds)}" if seen.seconds is not None else ""
    words = ", ".join(word for word in (seen.server and f"server {seen.server}", seen.tool) if word)
    where = f" {_where(seen)}" if seen.tool else ""
    items = count(seen.items or 0, "item")
    return f"reachable, rights suffice, {items}{about}{usual}" + (f" ({words}{where})" if words else "")


def _where(seen: Preflight) -> str:
    return f"in container {seen.container}" if seen.container else "on this host"
