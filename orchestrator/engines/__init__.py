"""The engines: one module each, found by name; a module is imported only when its engine is asked for.

A module of this package whose name does not begin with `_` is an engine and holds `ENGINE`, an object that fulfils
`orchestrator.model.engine.Engine`. Other distributions add engines through the entry-point group
`orchestrator.engines`: the entry's name is the engine's, and it points at the object (`package.module:ENGINE`). A
module of ours wins over an entry of the same name, so that nobody replaces an engine unnoticed.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

from orchestrator.model.engine import Engine
from orchestrator.model.errors import Bug, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from pydantic import BaseModel

GROUP = "orchestrator.engines"


@cache
def _modules() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


@cache
def _entries() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - start-up: only for a name that is not ours

    return {entry.name: entry for entry in entry_points(group=GROUP)}


def names() -> tuple[str, ...]:
    """Return the names of all engines, sorted, without importing any."""
    return tuple(sorted({*_modules(), *_entries()}))


@cache
def load(name: str) -> Engine:
    """Import and return one engine.

    Raises UsageError with a suggestion for an unknown name or one that cannot be imported, Bug for a module of ours
    without a fitting `ENGINE`.
    """
    if name in _modules():
        found = getattr(importlib.import_module(f"{__name__}.{name}"), "ENGINE", None)
        if found is None or found.name != name:
            raise Bug(f"engine {name}: module {__name__}.{name} has no ENGINE of that name")
        engine: Engine = found
        return engine
    if name in _entries():
        return _from_entry(_entries()[name])
    import difflib  # noqa: PLC0415 - only for a mistake

    close = difflib.get_close_matches(name, names(), n=1)
    known = ", ".join(names())
    raise UsageError(f"unknown engine {name!r}", f"did you mean {close[0]!r}?" if close else f"engines are: {known}")


def _from_entry(entry: EntryPoint) -> Engine:
    try:
        engine: Engine = entry.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"engine {entry.name!r} from {entry.value!r} cannot be loaded: {error}",
            "reinstall or remove the distribution that brings it",
        ) from error
    if getattr(engine, "name", None) != entry.name:
        raise UsageError(
            f"engine {entry.name!r} from {entry.value!r} does not bear that name",
            "the entry point's name and the engine's `name` must agree",
        )
    return engine


class Options(Mapping[str, "type[BaseModel]"]):
    """Every engine's Options model by name; an engine is imported when its model is asked for, not before."""

    def __getitem__(self, name: str) -> type[BaseModel]:
        if name not in _modules() and name not in _entries():
            raise KeyError(name)
        options: type[BaseModel] = load(name).Options
        return options

    def __iter__(self) -> Iterator[str]:
        return iter(names())

    def __len__(self) -> int:
        return len(names())
