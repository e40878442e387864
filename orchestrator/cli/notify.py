"""`resguardo notify`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext


@click.group("notify")
def command() -> None:
    """The notification channels of policy.yml."""


@command.command("test")
@click.argument("channels", nargs=-1, metavar="[CHANNEL]...")
@click.pass_obj
def test(ctx: CliContext, channels: tuple[str, ...]) -> int:
    """Send a test notification to every channel, or to those named; exit 1 when one does not take it."""
    from orchestrator.cli.acting import open_app  # noqa: PLC0415 - start-up
    from orchestrator.runs.notify import send_test  # noqa: PLC0415

    results = send_test(open_app(ctx).box, channels)
    if ctx.json:
        from orchestrator.report.bodies import NotifyTested, TriedChannel  # noqa: PLC0415

        ctx.emit("notify-test", NotifyTested([TriedChannel(*result) for result in results]))
    else:
        told = [
            f"{name}: {error or 'delivered'}" + (f"\nHINT: {hint}" if hint else "") for name, error, hint in results
        ]
        ctx.say("\n".join(told) or "no channels in policy.yml")
    return int(any(error for _, error, _ in results))
