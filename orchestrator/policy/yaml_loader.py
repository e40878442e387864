"""A strict YAML loader that knows where every key stands.

It works on the parser's events, so nothing is ever constructed: no aliases (hence no bombs), no tags, no duplicate
keys, one document, a depth cap; YAML 1.2 booleans only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from orchestrator.model.errors import PolicyInvalid, Problem
from orchestrator.policy.scalars import BadReference, interpolate, plain, unstorable
from orchestrator.policy.source_text import read_text
from orchestrator.policy.yaml_faults import misplaced_tabs, syntax_problem

Path = tuple[str | int, ...]
MAX_DEPTH = 32
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Document:
    """One file as read. file: its name in messages · places: line and column, from 1, of each key and list entry.

    interpolated: where a `${VAR}` was filled in · problems: all that the loader itself found wrong.
    """

    file: str
    text: str
    data: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    interpolated: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: Path, message: str, hint: str | None = None) -> Problem:
        """Return the problem at the nearest place known for `path`, naming the whole key."""
        known = path
        while known and known not in self.places:
            known = known[:-1]
        line, column = self.places.get(known, (1, 1))
        return Problem(self.file, line, column, dotted(path), message, hint)


def dotted(path: Path) -> str:
    """Return a key as messages name it: `repositories.local.url`, `paths[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def load_file(path: str, shown: str, environ: Mapping[str, str] | None = None, missing: str = "") -> Document:
    """Read a file. missing: what to do when it is not there.

    Raises PolicyInvalid when it cannot be read at all; see load_text for the rest.
    """
    return load_text(read_text(path, shown, missing), shown, environ)


def load_text(text: str, shown: str, environ: Mapping[str, str] | None = None) -> Document:
    """Read YAML text. Its problems are in the document; those that stop reading leave `data` at None."""
    document = Document(shown, text)
    builder = _Builder(document, os.environ if environ is None else environ)
    try:
        builder.read()
    except yaml.YAMLError as error:
        wrong = syntax_problem(shown, text, error)
        # What was misread on the same line is the same mistake: `{url: ${X}}` without quotes.
        document.problems = [problem for problem in document.problems if problem.line != wrong.line] + [wrong]
        document.data = None
    except PolicyInvalid as error:
        document.problems.extend(error.problems)
        document.data = None
    return document


class _Builder:
    """Turns events into plain data, noting places and problems on the way."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._quoted_lines: set[int] = set()

    def read(self) -> None:
        """Read the one document. Raises yaml.YAMLError, and PolicyInvalid for what makes going on useless."""
        parser = _PARSER(self._document.text)
        try:
            self._events: Iterator[Any] = iter(parser.get_event, None)
            next(self._events)
            start = next(self._events)
            if isinstance(start, yaml.StreamEndEvent):
                raise self._stop(start, "the file is empty", "resguardo init writes a starter")
            if start.version or start.tags:
                raise self._stop(start, "directives (%YAML, %TAG) are not supported", "remove the line")
            self._document.data = self._node(next(self._events), ())
            next(self._events)
            after = next(self._events)
            if not isinstance(after, yaml.StreamEndEvent):
                raise self._stop(after, "more than one document", "remove everything from this `---` on")
        finally:
            parser.dispose()
        self._document.problems += misplaced_tabs(self._document.file, self._document.text, self._quoted_lines)
        if self._document.data is None and not self._document.problems:
            raise self._stop(start, "the file is empty", "resguardo init writes a starter")

    def _node(self, event: Any, path: Path) -> Any:
        if isinstance(event, yaml.AliasEvent):
            self._complain(
                event, path, "aliases (*name) are not supported", 'write it out; a pattern needs quotes: "*.log"'
            )
            return None
        self._refuse_decoration(event, path)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if len(path) >= MAX_DEPTH:
            raise self._stop(event, f"nested more than {MAX_DEPTH} deep", "no policy needs this; is a bracket missing?")
        return self._mapping(event, path) if isinstance(event, yaml.MappingStartEvent) else self._sequence(event, path)

    def _refuse_decoration(self, event: Any, path: Path) -> None:
        if event.anchor is not None:
            self._complain(
                event, path, "anchors (&name) are not supported", "write it out; text that begins with & needs quotes"
            )
        if event.tag is not None:
            self._complain(
                event, path, f"tags ({event.tag[:40]}) are not supported", "text that begins with ! needs quotes"
            )

    def _scalar(self, event: Any, path: Path) -> Any:
        text = self._text(event, path)
        # libyaml says "" for a plain scalar, the parser in Python says None.
        return plain(text) if text is not None and not event.style else text

    def _text(self, event: Any, path: Path) -> str | None:
        if event.style and event.end_mark.line > event.start_mark.line:
            self._quoted_lines.update(range(event.start_mark.line + 1, event.end_mark.line + 1))
        try:
            text = interpolate(event.value, self._environ)
        except BadReference as error:
            self._complain(event, path, str(error), error.hint)
            return None
        if "${" in event.value:
            self._document.interpolated.add(path)
        if unstorable(text):
            self._complain(event, path, "holds a NUL or bytes that are not UTF-8", "remove them")
            return None
        return text

    def _sequence(self, _start: Any, path: Path) -> list[Any]:
        entries: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            place = (*path, len(entries))
            self._document.places[place] = _mark(event)
            entries.append(self._node(event, place))
        return entries

    def _mapping(self, _start: Any, path: Path) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, path)
            place = (*path, key)
            if key in entries:
                first = self._document.places[place][0]
                self._complain(event, place, f"duplicate key, first on line {first}", "keep one of them")
                self._skip(next(self._events))
                continue
            self._document.places[place] = _mark(event)
            entries[key] = self._node(next(self._events), place)
        return entries

    def _key(self, event: Any, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._stop(event, "a key must be plain text", "is a quote missing around {…} or […]?", path)
        self._refuse_decoration(event, path)
        return self._text(event, path) or str(event.value)

    def _skip(self, event: Any) -> None:
        depth = 0
        while True:
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth == 0:
                return
            event = next(self._events)

    def _complain(self, event: Any, path: Path, message: str, hint: str) -> None:
        line, column = _mark(event)
        self._document.problems.append(Problem(self._document.file, line, column, dotted(path), message, hint))

    def _stop(self, event: Any, message: str, hint: str, path: Path = ()) -> PolicyInvalid:
        line, column = _mark(event)
        return PolicyInvalid([Problem(self._document.file, line, column, dotted(path), message, hint)])


def _mark(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
