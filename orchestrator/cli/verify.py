"""`resguardo verify`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext
from orchestrator.model.errors import UsageError


@click.command("verify")
@click.option("--quick", is_flag=True, help="Structure only, no data.")
@click.option("--data", metavar="SHARE", help="Read this share: 10%, 3/7 or all (default: policy.yml's check.data).")
@click.option("--point", metavar="ID", help="Read all bytes of this restore point back and compare digests.")
@click.option("--wait", default=0.0, metavar="SECONDS", help="Wait for another run to end (default: 0).")
@click.pass_obj
def command(ctx: CliContext, quick: bool, data: str | None, point: str | None, wait: float) -> int:
    """Check the repository: its structure, and a share of its data; further shares follow in later calls."""
    from orchestrator.cli.acting import act, open_app  # noqa: PLC0415 - start-up
    from orchestrator.runs import verify as runs  # noqa: PLC0415

    if quick and (data or point):
        raise UsageError("--quick reads no data", "leave out --data and --point")
    if point and data:
        raise UsageError("--point reads one restore point, all of it", "leave out --data or --point")
    chosen = None if data is None else _share(data)
    app = open_app(ctx, acting=True)
    share = "" if quick else chosen or app.config.policy.check.data
    return act(ctx, app, "verify", lambda box: runs.verify(box, data=share, point=point, wait=wait))


def _share(text: str) -> str:
    """Read a share of the data by the rule of policy.yml's check.data. Raises UsageError."""
    from orchestrator.policy.fault import reason  # noqa: PLC0415 - start-up
    from orchestrator.policy.units import parse_data  # noqa: PLC0415

    try:
        return parse_data(text)
    except ValueError as error:
        message, hint = reason(error)
        raise UsageError(f"--data: {message}", hint) from None
