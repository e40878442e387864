"""States that points earned, as manifests carry them, so that a lost catalog gets them back.

Each manifest tells what the older points of its service and tier had earned when it was written. That costs no restic
process, writes nothing during a restore, and goes with the points themselves; what was earned, or
found damaged, since the newest backup is all that a lost catalog loses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.model.manifest import Manifest
from orchestrator.model.names import point_id
from orchestrator.model.point import Point, State
from orchestrator.model.repository import Repository
from orchestrator.runs.toolbox import Toolbox

_DAMAGED = "damaged"
_NOTHING: Mapping[str, Any] = {"run": "", "states": {}}
# Nothing here lets a point earn `proven` yet: a manifest that says so is believed as far as a restore can prove.
_EARNED = {state.word: min(state, State.RESTORED) for state in State if state > State.COMMITTED}


def to_tell(box: Toolbox, service: str, tier: str) -> dict[str, dict[str, dict[str, str]]]:
    """Return repository → run → source → state of the points that earned one; of a damaged point that it is damaged."""
    told = {name: dict(_kept(box, name).get(f"{service}.{tier}", _NOTHING)["states"]) for name in box.repositories}
    for point in box.catalog.points(service=service, host=box.config.policy.host, items=False):
        if point.tier == tier and point.repository in told:
            told[point.repository].pop(point.run, None)
            if states := _states(point):
                told[point.repository][point.run] = states
    return {name: runs for name, runs in told.items() if runs}


def _states(point: Point) -> dict[str, str]:
    if point.damaged:
        # What is lost is seen in every listing, and may be there in another one.
        return {} if point.lost else {source.name: _DAMAGED for source in point.sources}
    return {source.name: source.state.word for source in point.sources if source.state.word in _EARNED}


def adopt(box: Toolbox, repository: Repository, manifests: Iterable[Manifest], *, all_known: bool = False) -> None:
    """Give points that were just learnt the states that the newest manifest of their service and tier tells.

    Older manifests are not asked: a point may have been found damaged since. What is told of points that are not
    known yet is kept until they are (all_known).
    """
    learnt = list(manifests)
    told = _kept(box, repository.name)
    for manifest in learnt:
        series = f"{manifest.service}.{manifest.tier}"
        if told.get(series, _NOTHING)["run"] < manifest.run:
            told[series] = {"run": manifest.run, "states": dict(manifest.earned.get(repository.name, {}))}
    box.catalog.put(_key(repository.name), "" if all_known else json.dumps(told))
    for manifest in learnt:
        states: Mapping[str, str] = told[f"{manifest.service}.{manifest.tier}"]["states"].get(manifest.run, {})
        point = point_id(manifest.service, manifest.tier, manifest.run)
        if _DAMAGED in states.values():
            box.catalog.set_damaged(point, repository.name, damaged=True)
        for source, word in states.items():
            if word in _EARNED:
                box.catalog.set_state(point, repository.name, source, _EARNED[word])


def _kept(box: Toolbox, repository: str) -> dict[str, Any]:
    return dict(json.loads(box.catalog.get(_key(repository)) or "{}"))


def _key(repository: str) -> str:
    return f"earned.{repository}"
