"""`resguardo backup`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext
from orchestrator.cli.plan import show_plan
from orchestrator.model.errors import UsageError


@click.command("backup")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--only", type=click.Choice(["databases", "files"]), help="Back up only databases, or only files.")
@click.option("--dry-run", is_flag=True, help="Print the plan and do nothing.")
@click.option("--no-verify", is_flag=True, help="Skip the check of the repository when it is due.")
@click.option("--wait", default=0.0, metavar="SECONDS", help="Wait for another run to end (default: 0).")
@click.option("--job", metavar="NAME", help="Run as this job of policy.yml: its services, and wait for the lock.")
@click.option("--new-machine", is_flag=True, help="Take this host name over from the machine that used it before.")
@click.pass_obj
def command(
    ctx: CliContext,
    services: tuple[str, ...],
    only: str | None,
    dry_run: bool,
    no_verify: bool,
    wait: float,
    job: str | None,
    new_machine: bool,
) -> int:
    """Dump and store every source, commit restore points, apply retention and check when due."""
    from orchestrator.cli.acting import act, job_of, open_app  # noqa: PLC0415 - start-up
    from orchestrator.runs import backup as runs  # noqa: PLC0415

    if dry_run and (wait or new_machine):
        raise UsageError("--dry-run waits for nobody and takes nothing over", "leave out --wait and --new-machine")
    app = open_app(ctx, acting=not dry_run)

    def request() -> runs.BackupRequest:
        chosen, patience = job_of(app.config, job, "backup", services, wait)
        return runs.BackupRequest(chosen, only or "", verify=not no_verify, wait=patience, new_machine=new_machine)

    if dry_run:
        return show_plan(ctx, app, request())
    # Asked for inside, so that a job with a wrong name is recorded and told like every other failure.
    return act(ctx, app, "backup", lambda box: runs.backup(box, request()))
