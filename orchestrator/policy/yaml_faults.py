"""What the YAML parser's complaints mean to people."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

import yaml

from orchestrator.model.errors import Problem

_LINES = re.compile(r"\r\n|\r|\n")
_TAB_INDENT = re.compile(r" *\t[ \t]*\S")
TAB_HINT = "indent with spaces"
# A piece of the parser's message or context → what usually causes it. The first that fits is taken.
_HINTS = (
    ("alias", 'text that begins with * needs quotes: "*.log"'),
    ("anchor", "text that begins with & needs quotes"),
    ("mapping values are not allowed", "text that holds `: ` needs quotes; or is the indentation wrong?"),
    ("cannot start any token", "text that begins with @, ` or % needs quotes"),
    ("escape", "inside double quotes write \\\\ for a backslash, or use single quotes"),
    ("hexdecimal", "inside double quotes write \\\\ for a backslash, or use single quotes"),
    ("quoted scalar", "close the quotes"),
    ("flow", "close each { and [; inside them ${NAME} needs quotes"),
    ("expected ':'", "each key ends with a colon and a space"),
    ("directive", "text that begins with % needs quotes"),
    ("document start", "is the indentation of this line wrong?"),
    ("block", "check the indentation of this line and the one before"),
)


def syntax_problem(file: str, text: str, error: yaml.YAMLError) -> Problem:
    """Return the parser's error as a problem with its place and the usual cause."""
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    # What is never closed is only noticed at the end: its beginning is the place to look at.
    if context and (mark is None or mark.line >= text.count("\n") > context.line):
        mark = context
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    tab = next((found for found in _tabs(text) if found[0] in (line, line - 1)), None)
    if tab:
        return Problem(file, tab[0], tab[1], "", "a tab in the indentation", TAB_HINT)
    told = f"{problem} {getattr(error, 'context', None) or ''}".lower()
    hint = next((hint for piece, hint in _HINTS if piece in told), "check quotes, brackets and indentation here")
    return Problem(file, line, column, "", f"not valid YAML: {problem.lower()}", hint)


def misplaced_tabs(file: str, text: str, quoted: Container[int]) -> list[Problem]:
    """Return a problem per line that is indented with a tab, but for those (from 0) inside quotes or a text block."""
    return [
        Problem(file, line, column, "", "a tab in the indentation", TAB_HINT)
        for line, column in _tabs(text)
        if line - 1 not in quoted
    ]


def _tabs(text: str) -> Iterator[tuple[int, int]]:
    if "\t" in text:
        for number, line in enumerate(_LINES.split(text), 1):
            if _TAB_INDENT.match(line):
                yield number, line.index("\t") + 1
