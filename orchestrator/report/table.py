"""Plain aligned tables."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.report.units import cut, safe, width

_GAP = "  "
_WIDEST = 60  # columns of one cell; the last column of a row is never cut


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return rows under their heads, aligned; `right` are the indexes of right-aligned columns.

    Cells are escaped here: hostile names are normal input. Columns are as wide as their widest cell.
    """
    shown = [[safe(cell) for cell in row] for row in (heads, *rows)]
    for row in shown:
        row[:-1] = [cut(cell, _WIDEST) for cell in row[:-1]]
    widths = [max(width(row[at]) for row in shown) for at in range(len(heads))]
    return "\n".join(_line(row, widths, right) for row in shown)


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    cells = []
    for at, cell in enumerate(row):
        padding = " " * (widths[at] - width(cell))
        cells.append(padding + cell if at in right else cell + padding)
    return _GAP.join(cells).rstrip()


def fields(pairs: Sequence[tuple[str, str]]) -> str:
    """Return `name  value` lines, values aligned; empty values are left out."""
    present = [(name, safe(value)) for name, value in pairs if value]
    widest = max((width(name) for name, _ in present), default=0)
    return "\n".join(f"{name}{' ' * (widest - width(name))}{_GAP}{value}" for name, value in present)
