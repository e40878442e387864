"""pytest plugin (`-p tests.skips`): with CI=true a skipped test fails.

A test skips when a component is missing, and a developer may live with that; where everything is to be installed, a
skip would hide that a part of the product went untested. What no installation can change there (a kernel's limit, no
root) says so: its reason begins with "impossible here:", and what a shared test does not ask of one engine begins with
"does not apply:"; both stay skips.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

ALLOWED = ("impossible here:", "does not apply:")


def strict() -> bool:
    """Whether skips are failures in this run."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why something was skipped, without pytest's prefix."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def harden(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure unless its reason is allowed; expected failures are left alone."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail") or not strict():
        return
    reason = skip_reason(report)
    if not reason.startswith(ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped where nothing may be missing (CI=true): {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at each test's report."""
    report = yield
    harden(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Look at modules that skip as a whole (importorskip, allow_module_level)."""
    report = yield
    harden(report)
    return report
