"""Every command and option is documented, and every documented command line exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from orchestrator.cli.main import group
from orchestrator.model import errors
from tests.docs.pages import PROJECT, Page, command_lines, pages

REFERENCE = Page(PROJECT / "docs" / "reference" / "commands.md")
CODES = Page(PROJECT / "docs" / "reference" / "exit-codes.md")


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command with its full name."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, name
            yield from walk(below, (*path, name))


COMMANDS = dict(walk(group, ("resguardo",)))


def section(name: str) -> str:
    """Return the reference's part about one command."""
    found = re.search(rf"^## `{re.escape(name)}`$(.*?)(?=^## |\Z)", REFERENCE.text, re.MULTILINE | re.DOTALL)
    assert found, f"{REFERENCE.name} has no section `{name}`: run scripts/reference"
    return found[1]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_is_in_the_reference(path: tuple[str, ...]) -> None:
    text = section(" ".join(path))
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            for name in (*parameter.opts, *parameter.secondary_opts):
                assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), f"{name}: run scripts/reference"


def test_the_reference_has_no_command_that_is_gone() -> None:
    named = set(re.findall(r"^## `(.+)`$", REFERENCE.text, re.MULTILINE))
    assert named == {" ".join(path) for path in COMMANDS}


def test_every_command_is_explained_outside_the_reference() -> None:
    prose = "\n".join(page.text for page in pages() if page.path != REFERENCE.path)
    missing = [
        path for path in COMMANDS if len(path) == 2 and not re.search(rf"`{path[1]}`|resguardo {path[1]}\b", prose)
    ]
    assert not missing


def documented() -> list[tuple[str, list[str]]]:
    """Return (page, words) of every `resguardo …` command line in shell and text blocks of the docs."""
    found = []
    for page in pages():
        for block in (*page.blocks("sh"), *page.blocks("text")):
            for line in command_lines(block):
                match = re.search(r"(?:^|[\s/])resguardo ((?!\d).+)$", line)
                if match and page.path != REFERENCE.path:
                    found.append((page.name, shlex.split(match[1])))
    return found


@pytest.mark.parametrize(
    ("page", "words"), documented(), ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_documented_command_lines_exist(page: str, words: list[str]) -> None:
    command: click.Command = group
    context = click.Context(group, info_name="resguardo")
    while isinstance(command, click.Group):
        context.params, rest = {}, list(words)
        _, rest, _ = command.make_parser(context).parse_args(rest)
        assert rest, f"{page}: no command in {words}"
        name, *words = rest
        below = command.get_command(context, name)
        assert below is not None, f"{page}: no command {name!r}"
        command, context = below, click.Context(below, info_name=name, parent=context)
    command.parse_args(context, list(words))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_scripts_that_are_named_exist(page: Page) -> None:
    for name in re.findall(r"(?<![\w/.])scripts/([\w-]+)(?!/)\b", page.text):
        path = PROJECT / "scripts" / name
        assert path.exists(), f"{page.name}: scripts/{name}"
        assert path.is_dir() or path.stat().st_mode & 0o111, f"scripts/{name} cannot be run"


def test_exit_codes_are_all_explained() -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    rows = re.findall(r"^\| ([\d, ]+) \|", CODES.text, re.MULTILINE)
    table = {int(code) for row in rows for code in row.split(",")}
    assert codes == table


def test_the_two_commands_of_the_readme_are_what_runs() -> None:
    lines = [line for block in Page(PROJECT / "README.md").blocks("sh") for line in command_lines(block)]
    assert "scripts/quickstart" in lines
    assert "scripts/test" in lines
    assert re.search(r"^exec scripts/test$", (PROJECT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_quickstart_uses_the_readmes_commands() -> None:
    script = (PROJECT / "scripts" / "quickstart").read_text(encoding="utf-8")
    run = [line.split() for line in re.findall(r"\brun (resguardo [^\n]+)$", script, re.MULTILINE)]
    assert len(run) >= 4
    shown = [line.split() for block in Page(PROJECT / "README.md").blocks("sh") for line in command_lines(block)]
    for words in run:
        if "-v" in words:
            words.remove("-v")  # what is written to no terminal needs it to be told
        # the folder that is restored to is the reader's choice
        fixed = words[: words.index("--to") + 1] if "--to" in words else words
        assert any(line[: len(fixed)] == fixed for line in shown), words
