"""Figures with their targets: kept whole, won or lost, as a table for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

from benchlib.measure import Series


@dataclass(frozen=True)
class Row:
    """One comparison.

    kind: `ratio` ours by theirs, `difference` ours minus theirs, `value` ours alone · target: at most this, None when
    the row only informs · ours, theirs: every run.
    """

    case: str
    what: str
    unit: str
    kind: Literal["ratio", "difference", "value"]
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    against: str = ""
    target: float | None = None
    problem: str = ""

    @property
    def figure(self) -> float | None:
        """The figure that the target is about, from medians."""
        if self.problem or not self.ours or (self.kind != "value" and not self.theirs):
            return None
        if self.kind == "value":
            return median(self.ours)
        if self.kind == "difference":
            return median(self.ours) - median(self.theirs)
        return median(self.ours) / median(self.theirs) if median(self.theirs) else None

    @property
    def verdict(self) -> str:
        if self.figure is None:
            return "not measured"
        if self.target is None:
            return ""
        return "met" if self.figure <= self.target else "MISSED"

    def as_dict(self) -> dict[str, Any]:
        medians = {
            "ours": median(self.ours) if self.ours else None,
            "theirs": median(self.theirs) if self.theirs else None,
        }
        return {**asdict(self), "median": medians, "figure": self.figure, "verdict": self.verdict}


def compare(
    case: str,
    what: str,
    ours: Series,
    theirs: Series,
    *,
    measure: str = "wall",
    kind: Literal["ratio", "difference"] = "ratio",
    target: float | None = None,
) -> Row:
    """A row from two series of the same turns."""
    problem = " · ".join(filter(None, (ours.problem, theirs.problem)))
    return Row(case, what, "s", kind, ours.values(measure), theirs.values(measure), theirs.name, target, problem)


@dataclass
class Report:
    """All rows, what was not counted, and on what they were measured."""

    machine: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    not_counted: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "schema": "resguardo/bench/1",
            "machine": self.machine,
            "rows": [row.as_dict() for row in self.rows],
            "not_counted": self.not_counted,
            "facts": self.facts,
        }

    def table(self) -> str:
        """A Markdown table; each row's runs stand below it."""
        quick = (
            "**Quick: a fiftieth of the data; no figure below means anything.**\n\n" if self.machine["quick"] else ""
        )
        about = ", ".join(f"{name} {value}" for name, value in sorted(self.machine.items()))
        lines = [
            f"{quick}{about}",
            "",
            "| case | what | ours | theirs | figure | target | |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row.case} | {row.what}{_cell(row.against)} | {_median(row.ours, row.unit)}"
            f" | {_median(row.theirs, row.unit)} | {_figure(row)} | {_target(row)} | {row.verdict} |"
            for row in self.rows
        ]
        lines += ["", "Every run, in turns:", ""]
        for row in self.rows:
            lines.append(f"- {row.case} {row.what}: ours {_all(row.ours)}; {row.against or 'alone'} {_all(row.theirs)}")
            if row.problem:
                lines.append(f"  not measured: {row.problem}")
        for case, text in self.not_counted.items():
            lines += ["", f"{case}, how and what is not counted:", "", text.strip()]
        return "\n".join(lines)


def _cell(against: str) -> str:
    """The name of the other side; its bars would end a table's cell."""
    return f" / {against}".replace("|", "\\|") if against else ""


def _median(values: Sequence[float], unit: str) -> str:
    return f"{median(values):.3g} {unit}" if values else "-"


def _all(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values) or "-"


def _figure(row: Row) -> str:
    if row.figure is None:
        return "-"
    return {"ratio": f"{row.figure:.3f}x", "difference": f"{row.figure:+.2f} {row.unit}"}.get(
        row.kind, f"{row.figure:.3g} {row.unit}"
    )


def _target(row: Row) -> str:
    if row.target is None:
        return "-"
    return {"ratio": f"<= {row.target:g}x", "difference": f"<= +{row.target:g} {row.unit}"}.get(
        row.kind, f"<= {row.target:g} {row.unit}"
    )
