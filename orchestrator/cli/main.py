"""The command group, loaded lazily, and the one handler at the top."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Sequence

import click

from orchestrator import __version__
from orchestrator.cli.context import CliContext
from orchestrator.cli.output import finish, put
from orchestrator.model.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_USAGE, ResguardoError

# name → (module in orchestrator.cli, one line of help); a module is imported only when its command runs.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "write a starter policy.yml, services.yml and repository key, and create the repository"),
    "validate": ("validate", "check policy.yml and services.yml"),
    "schema": ("schema", "print the JSON Schema of policy.yml or services.yml"),
    "plan": ("plan", "what a backup would do and what retention would forget; touches nothing"),
    "backup": ("backup", "back up all services, or those named"),
    "list": ("list", "list restore points"),
    "show": ("show", "show one restore point with its sources and items"),
    "restore": ("restore", "restore a service, to a new place or in place"),
    "verify": ("verify", "check the repository, or read one restore point back"),
    "prune": ("prune", "apply retention, with reasons, and free space"),
    "status": ("status", "how each service stands"),
    "doctor": ("doctor", "look at everything that a backup needs"),
    "notify": ("notify", "try the notification channels"),
    "catalog": ("catalog", "rebuild the local catalog from a repository"),
    "recover": ("recover", "undo what a killed run left behind"),
}

# -c POLICY, -cPOLICY, -vc POLICY, --config POLICY, --config=POLICY
_CONFIG = re.compile(r"(?:-[vq]*c|--config(?:=|$))(?P<path>.*)", re.DOTALL)


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported on use: `--help` and `--version` load none."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order in which people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"orchestrator.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands from the table, so that help needs no import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, with a did-you-mean for unknown words."""
        if args and args[0] not in COMMANDS:
            import difflib  # noqa: PLC0415 - only for a mistake

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "see resguardo --help"
            raise click.UsageError(f"no such command: {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


def _policy_at(given: str | None) -> str:
    """Return the path of the policy: as given, $RESGUARDO_POLICY, or here; of a folder, the policy.yml in it."""
    path = given or os.environ.get("RESGUARDO_POLICY") or "policy.yml"
    return os.path.join(path, "policy.yml") if os.path.isdir(path) else path


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "-c",
    "--config",
    "policy_path",
    metavar="POLICY",
    help="policy.yml, or its folder (default: $RESGUARDO_POLICY or here).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option("-v", "--verbose", count=True, help="Say more on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.version_option(__version__, prog_name="resguardo", message="%(prog)s %(version)s")
@click.pass_context
def group(ctx: click.Context, policy_path: str | None, as_json: bool, verbose: int, quiet: bool) -> None:
    """Backups of databases and files into restic, driven by a YAML policy."""
    ctx.obj = CliContext(_policy_at(policy_path), json=as_json, verbosity=-1 if quiet else verbose)


def run(argv: Sequence[str]) -> int:
    """Run one command; return its exit code. Known errors print their message, unknown ones go to the log."""
    return finish(_run(argv))


def _run(argv: Sequence[str]) -> int:
    words = _hoist_json(argv)
    as_json = words[:1] == ["--json"]
    try:
        code = group.main(args=words, prog_name="resguardo", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except ResguardoError as error:
        _print_error(error.message, error.hint, error.exit_code, as_json=as_json)
        return error.exit_code
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        where = f"see {context.command_path} --help" if context else "see resguardo --help"
        _print_error(error.format_message().rstrip("."), where, EXIT_USAGE, as_json=as_json)
        return EXIT_USAGE
    except (KeyboardInterrupt, click.exceptions.Abort):
        _print_error("interrupted", None, EXIT_INTERRUPTED, as_json=as_json)
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one handler at the top
        return _bug(error, _policy_of(argv), as_json=as_json)


def _hoist_json(argv: Sequence[str]) -> list[str]:
    """Accept --json after the command too: people and scripts put it there."""
    words = list(argv)
    stop = words.index("--") if "--" in words else len(words)
    if "--json" in words[:stop]:
        return ["--json", *(word for word in words[:stop] if word != "--json"), *words[stop:]]
    return words


def _print_error(message: str, hint: str | None, code: int, *, as_json: bool) -> None:
    if as_json:
        body = {"schema": "resguardo/error/1", "error": message, "hint": hint, "exit_code": code}
        put(json.dumps(body, sort_keys=True))
    put(f"resguardo: {message}", sys.stderr)
    if hint:
        put(f"HINT: {hint}", sys.stderr)


def _policy_of(argv: Sequence[str]) -> str:
    """Return the policy that the global options name, in each of the forms that click takes."""
    found, words = "", iter(argv)
    for word in words:
        option = _CONFIG.fullmatch(word)
        if option is not None:
            found = option["path"] or next(words, "")
        elif not word.startswith("-") or word == "--":
            break
    return _policy_at(found)


def _bug(error: Exception, policy_path: str, *, as_json: bool) -> int:
    from orchestrator.cli.crash import write_crash  # noqa: PLC0415 - only when it is needed

    where = write_crash(error, policy_path)
    message = f"unexpected {type(error).__name__}; the traceback is in {where}"
    _print_error(
        message, "please report it with that file, which holds no secrets that we know of", EXIT_BUG, as_json=as_json
    )
    return EXIT_BUG
