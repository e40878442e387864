"""`resguardo verify`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext
from orchestrator.model.errors import UsageError


@click.command("verify", short_help="check the repository, or read one restore point back")
@click.option("--quick", is_flag=True, help="Structure only, no data.")
@click.option("--data", metavar="SHARE", help="Read this share: 10%, 3/7 or all (default: policy.yml's check.data).")
@click.option("--point", metavar="ID", help="Read all bytes of this restore point back and compare digests.")
@click.option("--wait", default=0.0, metavar="SECONDS", help="Wait for another run to end (default: 0).")
@click.pass_obj
def command(ctx: CliContext, quick: bool, data: str | None, point: str | None, wait: float) -> int:
    """Check the repository's integrity, rotating through all of its data over time."""
    import re  # noqa: PLC0415 - start-up

    from orchestrator.cli.acting import act, open_app  # noqa: PLC0415
    from orchestrator.runs import verify as runs  # noqa: PLC0415

    if quick and (data or point):
        raise UsageError("--quick reads no data", "leave out --data and --point")
    if data and not re.fullmatch(r"\d{1,3}(\.\d+)?%|[1-9]\d*/[1-9]\d*|all", data):
        raise UsageError(f"--data {data!r} is no share", "such as 10%, 3/7 or all")
    app = open_app(ctx, acting=True)
    share = "" if quick else data or app.config.policy.check.data
    return act(ctx, app, "verify", lambda box: runs.verify(box, data=share, point=point, wait=wait))
