"""Each engine's own keys, checked by the Options model that the engine brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator.model.errors import Problem
from orchestrator.policy import later
from orchestrator.policy.fault import did_you_mean, shown
from orchestrator.policy.services_file import COMMON_KEYS, FILES_ENGINE, PATH_KEYS
from orchestrator.policy.validation import problems_of, unknown_key
from orchestrator.policy.yaml_loader import Document, Path

Models = Mapping[str, type[BaseModel]]
_ALSO = {"valkey": "redis"}  # servers that another's engine speaks to


@dataclass
class CheckedOptions:
    """Options by (service, source), and what is wrong with the others."""

    options: dict[tuple[str, str], Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def check_options(document: Document, models: Models, directory: str) -> CheckedOptions:
    """Check the options of all sources in services.yml, `files` among them."""
    checked = CheckedOptions()
    services = document.data.get("services") if isinstance(document.data, dict) else None
    for service, body in services.items() if isinstance(services, dict) else ():
        for source, engine, path, given in _sources(service, body):
            if engine not in models or (engine == FILES_ENGINE and "databases" in path):
                checked.problems.append(_unknown_engine(document, path, engine, models))
                continue
            known = _known_keys(models[engine])
            options = {key: value for key, value in given.items() if key in known}
            checked.problems += [
                unknown_key(document, (*path, key), [*known, *COMMON_KEYS]) for key in set(given) - known
            ]
            checked.problems += _wrong_flags(document, models[engine], options, path)
            try:
                found = models[engine].model_validate(options, context={"directory": directory})
            except ValidationError as error:
                checked.problems += problems_of(document, error, models[engine], path)
            else:
                checked.options[service, source] = found
    return checked


def _sources(service: str, body: Any) -> Iterator[tuple[str, str, Path, dict[str, Any]]]:
    """Give name, engine, place and own keys of each source whose engine is said."""
    if not isinstance(body, dict):
        return
    databases = body.get("databases")
    for name, entry in databases.items() if isinstance(databases, dict) else ():
        if isinstance(entry, dict) and entry.get("engine") and isinstance(entry["engine"], str):
            own = {key: value for key, value in entry.items() if key not in COMMON_KEYS}
            yield name, entry["engine"], ("services", service, "databases", name), own
    if body.get("paths"):
        own = {key: body[key] for key in PATH_KEYS if body.get(key) is not None}
        yield FILES_ENGINE, FILES_ENGINE, ("services", service), own


def _unknown_engine(document: Document, path: Path, engine: str, models: Models) -> Problem:
    place = (*path, "engine") if (*path, "engine") in document.places else (*path, "paths")
    known = sorted(set(models) - {FILES_ENGINE})
    if engine in later.ENGINES:
        return document.problem(place, f"the engine {engine!r} is {later.WORDS}", f"known engines: {', '.join(known)}")
    if engine == FILES_ENGINE:
        return document.problem(place, "files are listed under the service's `paths`", "remove it from databases")
    if (other := _ALSO.get(engine.lower())) in known:
        return document.problem(place, f"unknown engine: {shown(engine)}", f"write engine: {other}, which is for both")
    hint = did_you_mean(engine, known, kind="known engines")
    if hint and hint.startswith("did"):
        hint = f"{hint} known engines: {', '.join(known)}"
    return document.problem(place, f"unknown engine: {shown(engine)}", hint)


def _known_keys(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def _wrong_flags(document: Document, model: type[BaseModel], options: dict[str, Any], path: Path) -> Iterator[Problem]:
    """Refuse what pydantic's lax mode would take for a boolean ("yes", 1); YAML 1.2 has two."""
    for name, info in model.model_fields.items():
        key = info.alias or name
        if info.annotation is bool and key in options and not isinstance(options[key], bool):
            found = shown(options.pop(key))
            yield document.problem((*path, key), f"expected true or false, found {found}", "write true or false")
