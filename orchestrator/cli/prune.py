"""`resguardo prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.context import CliContext
from orchestrator.model.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.app import App


@click.command("prune")
@click.option("--dry-run", is_flag=True, help="Print every decision with its reason and do nothing.")
@click.option("--simulate", metavar="SPAN", help="Print what the policy would keep after this long, such as 2y.")
@click.option("--force", is_flag=True, help="Go on although the guard refuses; with --dry-run: show what would go.")
@click.option("--wait", default=0.0, metavar="SECONDS", help="Wait for another run to end (default: 0).")
@click.pass_obj
def command(ctx: CliContext, dry_run: bool, simulate: str | None, force: bool, wait: float) -> int:
    """Forget restore points by policy, commits first, then free the space."""
    from orchestrator.cli.acting import act, open_app  # noqa: PLC0415 - start-up
    from orchestrator.runs import retention as runs  # noqa: PLC0415

    if simulate and (force or wait):
        raise UsageError("--simulate only looks ahead", "leave out --force and --wait")
    if dry_run and wait:
        raise UsageError("--dry-run waits for nobody", "leave out --wait")
    app = open_app(ctx, acting=not (dry_run or simulate))
    if simulate:
        return _simulate(ctx, app, simulate)
    if dry_run:
        return _show(ctx, app, force=force)

    return act(ctx, app, "prune", lambda box: runs.prune(box, force=force, wait=wait))


def _show(ctx: CliContext, app: App, *, force: bool) -> int:
    from orchestrator.runs import retention_plan as runs  # noqa: PLC0415 - start-up

    with app.box.looking() as undo:
        plans = [runs.look(app.box, repository, "", undo, judge=False) for repository in app.box.repositories.values()]
    if ctx.json:
        from orchestrator.report.bodies import PrunePlanned  # noqa: PLC0415

        ctx.emit("prune-plan", PrunePlanned(plans, force))
    else:
        from orchestrator.report.text import retention_text  # noqa: PLC0415

        ctx.say("\n\n".join(retention_text(plan, force=force) for plan in plans))
    return int(any(plan.brakes for plan in plans) and not force)


def _simulate(ctx: CliContext, app: App, span: str) -> int:
    from orchestrator.runs.simulation import simulate_all  # noqa: PLC0415 - start-up

    found = simulate_all(app.box, span)
    if ctx.json:
        from orchestrator.report.bodies import Simulated, SimulatedSeries  # noqa: PLC0415

        ctx.emit("prune-simulate", Simulated([SimulatedSeries(*each) for each in found]))
    else:
        from orchestrator.report.text import simulation_text  # noqa: PLC0415

        ctx.say("\n".join(simulation_text(service, tier, simulation) for service, tier, simulation in found))
    return 0
