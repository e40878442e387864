"""Look at every source, side by side; nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from orchestrator.model.engine import Facts, Item, PathSet, Source
from orchestrator.model.errors import Interrupted, ResguardoError
from orchestrator.model.execution import Undo
from orchestrator.planning.backup import Probed, Trouble, seen_through, with_excludes
from orchestrator.planning.preflight import trouble_of
from orchestrator.runs.toolbox import Toolbox

SQLITE_COMPANIONS = ("", "-wal", "-shm", "-journal")


def probe_all(box: Toolbox, sources: Iterable[Source], undo: Undo) -> list[Probed]:
    """Probe sources, `parallel` at a time; a source that cannot be dumped carries its trouble."""
    wanted = list(sources)
    if len(wanted) < 2:
        return [probe(box, source, undo) for source in wanted]
    with ThreadPoolExecutor(max_workers=max(2, box.config.policy.parallel), thread_name_prefix="probe") as pool:
        return list(pool.map(lambda source: probe(box, source, undo), wanted))


def probe(box: Toolbox, source: Source, undo: Undo) -> Probed:
    """Probe one source."""
    history = box.catalog.history(source.service, source.name)
    engine = box.engines[source.engine]
    try:
        at = box.at(source)
        facts = engine.probe(source, at, undo)
        if source.container:
            facts = replace(facts, image=at.image())
        wrong = next((finding for finding in facts.findings if finding.level == "error"), None)
        if wrong:
            return Probed(source, trouble=Trouble(wrong.message, wrong.hint, 4, "found"), history=history)
        return Probed(source, facts, paths=_paths(box, facts), history=history)
    except Interrupted:
        raise
    except ResguardoError as error:
        return Probed(source, trouble=trouble_of(error), history=history)


def _paths(box: Toolbox, facts: Facts) -> Mapping[str, PathSet]:
    engines = {item.name: box.engines[item.source.engine] for item in facts.items}
    return {
        item.name: _protect(box, item, engines[item.name].paths(item))
        for item in facts.items
        if engines[item.name].delivers == "paths"
    }


def _protect(box: Toolbox, item: Item, paths: PathSet) -> PathSet:
    """Leave out our own directories and the service's live database files, under whatever name they are met."""
    places = {reason: list(found) for reason, found in box.here.places.items()}
    places["dumped as a database"] = [
        file
        for source in box.sources
        if source.engine == "sqlite" and source.service == item.source.service
        for file in database_files(source.options.path, box.here.real(source.options.path))
    ]
    real = box.here.real
    met: dict[str, list[str]] = {}
    for path in paths.paths:
        for reason, found in places.items():
            names = (seen_through(path, real(path), _real_entry(box, place)) for place in found)
            met.setdefault(reason, []).extend(name for name in names if name)
    return with_excludes(paths, met)


def database_files(path: str, real: str) -> list[str]:
    """Return the files of a live SQLite database. SQLite makes the others beside the file that a link leads to."""
    return [f"{name}{companion}" for name in dict.fromkeys((path, real)) for companion in SQLITE_COMPANIONS]


def _real_entry(box: Toolbox, place: str) -> str:
    # The entry itself may not exist yet (a -wal file): its folder is what has links to resolve.
    folder, name = os.path.split(place.rstrip("/"))
    return os.path.join(box.here.real(folder), name) if not os.path.islink(place) else box.here.real(place)
