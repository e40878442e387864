"""`resguardo doctor`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext


@click.command("doctor")
@click.option("--failpoints", is_flag=True, help="List the failpoints that tests kill the program at.")
@click.pass_obj
def command(ctx: CliContext, failpoints: bool) -> int:
    """Look at restic, the repositories, every source, the state folder and the channels; change nothing."""
    if failpoints:
        from orchestrator.model.failpoints import FAILPOINTS  # noqa: PLC0415 - start-up

        if ctx.json:
            from orchestrator.report.bodies import Failpoints  # noqa: PLC0415

            ctx.emit("failpoints", Failpoints(FAILPOINTS))
        else:
            ctx.say("\n".join(f"{name:28} {text}" for name, text in FAILPOINTS.items()))
        return 0
    from orchestrator.cli.acting import open_app  # noqa: PLC0415
    from orchestrator.runs.doctor import examine  # noqa: PLC0415

    examined = examine(open_app(ctx).box)
    findings = examined.findings
    if ctx.json:
        from orchestrator.report.bodies import Examined, ExaminedSubject  # noqa: PLC0415

        told = [ExaminedSubject(**vars(finding), subject=subject) for subject, finding in findings]
        ctx.emit("doctor", Examined(told, examined.sources))
    else:
        for subject, finding in findings:
            ctx.say(
                f"{finding.level:7}  {subject}: {finding.message}"
                + (f"\n         HINT: {finding.hint}" if finding.hint else "")
            )
    return int(any(finding.level == "error" for _, finding in findings))
