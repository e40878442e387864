"""What commands that act share: recover first, run, report, and never end silently."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.cli.context import CliContext
from orchestrator.model.errors import PolicyInvalid, ResguardoError
from orchestrator.model.record import RunRecord

if TYPE_CHECKING:
    from orchestrator.app import App
    from orchestrator.runs.toolbox import Toolbox


def open_app(ctx: CliContext, *, acting: bool = False) -> App:
    """Wire the program. An acting command that finds a bad policy says so through the last good one's channels."""
    from orchestrator.app import App  # noqa: PLC0415 - start-up
    from orchestrator.report.progress import progress_for  # noqa: PLC0415

    progress = progress_for(quiet=ctx.json or ctx.verbosity < 0 or not acting)
    try:
        return App.open(ctx.policy_path, progress)
    except PolicyInvalid as error:
        if acting:
            from orchestrator.app import report_invalid  # noqa: PLC0415

            report_invalid(ctx.policy_path, error)
        raise


def act(ctx: CliContext, app: App, command: str, work: Callable[[Toolbox], RunRecord]) -> int:
    """Recover what dead runs left, do the work, print its record, deliver what waits; return its exit code."""
    record = recorded(app, command, work)
    if ctx.json:
        from orchestrator.report.document import run_document  # noqa: PLC0415 - start-up

        ctx.emit(command, run_document(record))
    else:
        from orchestrator.report.text import run_text  # noqa: PLC0415

        show(ctx, run_text(record), record.exit_code)
    return record.exit_code


def recorded(app: App, command: str, work: Callable[[Toolbox], RunRecord]) -> RunRecord:
    """Do the work between recovery and delivery. An error that no run recorded is recorded here, then raised on."""
    from orchestrator.runs import notify, reconcile, recording  # noqa: PLC0415 - start-up

    try:
        reconcile.reconcile(app.box)
        return work(app.box)
    except ResguardoError as error:
        recording.refused(app.box, command, error)
        raise
    finally:
        notify.deliver(app.box.catalog, app.box.notifier, app.clock())
        app.close()


def show(ctx: CliContext, text: str, code: int) -> None:
    """Print a summary: on a terminal always; elsewhere (cron) only what did not go well, on stderr."""
    import sys  # noqa: PLC0415 - start-up

    if code:
        ctx.warn(text)
    elif sys.stdout.isatty() or ctx.verbosity > 0:
        ctx.say(text)
