"""The lines of `scripts/test --matrix`: from pytest's reports to the table, printed or put into the documentation."""

from __future__ import annotations

import datetime as dt
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "supported-versions.md"
HEADS = ("system", "version", "Debian suite", "passed", "failed", "skipped", "seconds", "on")
BEGIN, END = "<!-- the matrix: scripts/test --matrix --write -->", "<!-- end of the matrix -->"


def line(report: str, system: str, version: str, suite: str) -> str:
    """Return one row, tab separated, from a JUnit report; a report that is not there counts as one failure."""
    passed, failed, skipped, seconds = 0, 1, 0, 0.0
    if Path(report).is_file():
        suites = ET.parse(report).getroot().iter("testsuite")
        tests = failed = 0
        for found in suites:
            tests += int(found.get("tests", "0"))
            failed += int(found.get("failures", "0")) + int(found.get("errors", "0"))
            skipped += int(found.get("skipped", "0"))
            seconds += float(found.get("time", "0"))
        passed = tests - failed - skipped
    today = dt.datetime.now(dt.UTC).date().isoformat()
    figures = (passed, failed, skipped, round(seconds))
    return "\t".join((system, version or "?", suite, *map(str, figures), today))


def table(lines: list[str]) -> str:
    """Return the rows as a Markdown table."""
    rows = [HEADS, tuple("---" for _ in HEADS), *(tuple(each.split("\t")) for each in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write(lines: list[str]) -> None:
    """Put the rows into the page's table; those that did not run this time stay, with their own date."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    old, after = rest.split(END)
    cells = ([cell.strip() for cell in row.strip("|").split("|")] for row in old.splitlines() if row.startswith("|"))
    rows = {(row[0], row[2]): "\t".join(row) for row in list(cells)[2:]}
    rows |= {(row.split("\t")[0], row.split("\t")[2]): row for row in lines}
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(list(rows.values()))}\n\n{END}{after}", encoding="utf-8")


def main(words: list[str]) -> int:
    """`line REPORT SYSTEM VERSION SUITE`, or `table [--write] FILE`; the latter fails when a test failed."""
    if words[0] == "line":
        print(line(*words[1:]))
        return 0
    lines = Path(words[-1]).read_text(encoding="utf-8").splitlines()
    print(table(lines))
    if "--write" in words:
        write(lines)
    return int(not lines or any(each.split("\t")[4] != "0" for each in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
