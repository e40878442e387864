"""docs/reference/policy.md and services.md: every key of both files, from the models that check them."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orchestrator import engines
from orchestrator.policy import later
from orchestrator.policy.models import KeepRules, Policy, RetentionPolicy, SecretRef, Services
from orchestrator.policy.services_file import FILES_ENGINE
from orchestrator.policy.units import SECONDS

FORMS = {
    "path": "absolute, or relative to the folder of policy.yml; `~` is not expanded",
    "repository": "a path, or restic's URL: `sftp:`, `rest:`, `s3:`, `swift:`, `b2:`, `azure:`, `gs:`, `rclone:`",
    "name": "1 to 48 of `a-z 0-9 . _ -`, a letter or digit first",
    "duration": "numbers with their unit, largest first: `w` `d` `h` `m` `s`; a bare number is refused",
    "size": "a number with its unit: `KiB` `MiB` `GiB` `TiB` (1024), `kB` `MB` `GB` `TB` (1000), `B`",
    "rate": "a size, which may pass in a second",
    "percentage": "`0%` to `100%`",
    "span": "restic's own: years, months, days, hours in this order; `m` is months, a week is `7d`",
    "share": "of the repository's data: a percentage, a part such as `2/7`, or `all`",
    "count": "1 or more, or `unlimited`",
    "cron line": "five fields in quotes, or `@hourly` `@daily` `@weekly` `@monthly` `@yearly`",
    "event": "a severity, an event's name, or all of one noun; see [events](events.md)",
    "command": "a program with its arguments as a list; no shell",
}
# Models that stand in several places are described once, at the end.
SHARED = {"SecretRef": ("secret", "Secrets"), "KeepRules": ("rules", "Keep-rules")}
HEAD = """# {file}

This page is written by `scripts/reference` from the models that check the file; a test fails when it is old.
{about}

Unknown keys are refused, with what was probably meant. A key without a default must be given. `${{NAME}}` and
`${{NAME:-default}}` are filled in from the environment, `$$` is a dollar sign. Editors that know JSON Schema
complete and check the file with [{schema}]({schema}).

A whole example:

```yaml
{example}```
"""
POLICY_ABOUT = "How to back up. What to back up stands in [services.yml](services.md)."
SERVICES_ABOUT = "What to back up. How it is backed up stands in [policy.yml](policy.md)."
POLICY_EXAMPLE = """\
version: 1
host: hub-01
timezone: Europe/Madrid
parallel: 2
timeout: 6h
repositories:
  local:
    url: sftp:backup@storage.example:/srv/backups/hub-01
    password: {file: /etc/resguardo/repository.key}
retention:
  default: {last: 7, daily: 30, weekly: 52, monthly: 36, yearly: 5}
  cache: {within: 7d}
  guard: {max_forget: 30%}
jobs:
  nightly: {at: "0 2 * * *", do: backup}
  hourly: {at: "@hourly", do: backup, services: [hub]}
health: {max_age: 26h, min_free: 10GiB, max_duration: 1h}
notify:
  channels:
    ops: {url: {env: APPRISE_OPS_URL}}
  rules:
    - {on: [failed, partial, warning, recovered], to: [ops]}
restic: {upload: 10MiB, compression: auto}
tidy: {forget: 7d, prune: 7d}
check: {every: 7d, data: 5%}
"""
SERVICES_EXAMPLE = """\
services:
  hub:
    databases:
      main:
        engine: postgresql
        host: 127.0.0.1
        database: hub
        user: backup
        password: {file: /etc/resguardo/hub.password}
      sessions: {engine: sqlite, path: /srv/hub/sessions.db, tier: cache}
    paths: [/srv/hub/data, /srv/hub/.env]
    exclude: ["*.log", cache/]
"""


@dataclass(frozen=True)
class Section:
    """A block of the file: its place, such as `jobs.NAME`, and the model of what stands there."""

    place: str
    model: type[BaseModel]


def policy_page() -> str:
    """Return policy.md."""
    head = HEAD.format(file="policy.yml", about=POLICY_ABOUT, schema="policy.schema.json", example=POLICY_EXAMPLE)
    rules = f"## Keep-rules\n\nAt least one; a restore point stays when any of them keeps it.\n\n{_table(KeepRules)}"
    return "\n".join([head, *_sections(Section("", Policy)), rules, *_ends("policy.yml")])


def services_page() -> str:
    """Return services.md: the keys of every service, then those of each engine."""
    head = HEAD.format(
        file="services.yml", about=SERVICES_ABOUT, schema="services.schema.json", example=SERVICES_EXAMPLE
    )
    parts = [head, *_sections(Section("", Services))]
    for name, options in sorted(engines.Options().items()):
        if name != FILES_ENGINE:
            title = f"engine: {name}"
            parts.append(f"## {title}\n\nBeside the keys of every database.\n\n{_table(options, '', f'{title}, ')}")
            parts += [text for below in _below(options, "") for text in _sections(below, f"{title}, ")]
    return "\n".join([*parts, *_ends("services.yml")])


def _ends(file: str) -> Iterator[str]:
    yield f"## Secrets\n\nExactly one of the three; the file itself never holds a secret.\n\n{_table(SecretRef)}"
    rows = [f"| {form} | {text} |" for form, text in FORMS.items()]
    yield "\n".join(["## How values are written\n", "| Form | How |", "|---|---|", *rows, ""])
    yield f"## Not in this version\n\nDesigned, not built, and refused by name (exit code 2):\n\n{_later(file)}"


def _later(file: str) -> str:
    top = {"policy.yml": "repositories", "services.yml": "services"}[file]
    found = [f"`{'.'.join(key).replace('*', 'NAME')}`" for key in sorted(later.KEYS) if key[0] == top]
    if file == "policy.yml":
        found += [f"`do: {job}` of a job" for job in sorted(later.JOBS)]
        found += [f"more than {later.MOST_REPOSITORIES} entry below `repositories`"]
    else:
        found += [f"`engine: {engine}`" for engine in sorted(later.ENGINES)]
    return "\n".join([*(f"- {text}" for text in found), ""])


def _sections(section: Section, prefix: str = "") -> Iterator[str]:
    yield f"## {_title(section.place, prefix)}\n\n{_table(section.model, section.place, prefix)}"
    for below in _below(section.model, section.place):
        yield from _sections(below, prefix)


def _title(place: str, prefix: str) -> str:
    return f"{prefix}`{place}`" if place else "Top level"


def _below(model: type[BaseModel], place: str) -> Iterator[Section]:
    for key, field in model.model_fields.items():
        found, named = _model_of(field.annotation)
        if found is not None and found.__name__ not in SHARED:
            yield Section(_place(place, key, named=named), found)


def _place(place: str, key: str, *, named: bool) -> str:
    path = f"{place}.{key}" if place else key
    return f"{path}.NAME" if named else path


def _model_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the model that an annotation holds, and whether it stands below names of the user's."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    kind = get_origin(annotation)
    if kind in (dict, list, Union, types.UnionType, Annotated):
        for each in get_args(annotation)[kind is dict :]:
            found, below = _model_of(each)
            if found is not None:
                return found, kind is dict or below
    return None, False


def _table(model: type[BaseModel], place: str = "", prefix: str = "") -> str:
    schema = model.model_json_schema()["properties"]
    rows = []
    for key, field in model.model_fields.items():
        if model is RetentionPolicy and key == "tiers":  # in YAML the tiers stand beside guard
            about = "The rules of each tier, by its name; `default` must be among them."
            rows.append(f"| `TIER` | [rules](#keep-rules) | (required) | {about} | `{{daily: 30}}` |")
            continue
        if not field.description:
            raise SystemExit(f"{model.__name__}.{key} has no description")
        cells = (_form(field, schema[key], place, key, prefix), _default(field, schema[key]), field.description)
        rows.append(f"| `{key}` | {' | '.join(cells)} | {_code(_example(schema[key], field))} |".replace("|  |", "| |"))
    return "\n".join(["| Key | Form | Default | Meaning | Example |", "|---|---|---|---|---|", *rows, ""])


def _form(field: FieldInfo, schema: Mapping[str, Any], place: str, key: str, prefix: str) -> str:
    found, named = _model_of(field.annotation)
    if found is None or (found.__name__ == "SecretRef" and named):
        return " or ".join(dict.fromkeys(_words(schema)))
    if found.__name__ in SHARED:
        word, title = SHARED[found.__name__]
        return f"[{word}{' by name' if named else ''}](#{_anchor(title)})"
    word = "blocks by name" if named else "blocks in a list" if schema.get("type") == "array" else "block"
    return f"[{word}](#{_anchor(_title(_place(place, key, named=named), prefix))})"


def _anchor(title: str) -> str:
    """Return a heading's anchor, as code forges make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _words(schema: Mapping[str, Any]) -> Iterator[str]:
    if schema.get("title") in FORMS:
        yield str(schema["title"])
    elif "anyOf" in schema:
        yield from (word for each in schema["anyOf"] for word in _words(each))
    elif "const" in schema or "enum" in schema:
        yield from (f"`{word}`" for word in schema.get("enum", [schema.get("const")]))
    elif schema.get("type") == "array":
        yield f"list of {' or '.join(_words(schema['items']))}s"
    else:
        names = {"string": "text", "integer": "number", "boolean": "`true` or `false`", "object": "map"}
        yield names.get(schema["type"], schema["type"])


def _example(schema: Mapping[str, Any], field: FieldInfo) -> Any:
    """Return the field's own example, else its form's where no default shows the form already."""
    if field.examples:
        return field.examples[0]
    for each in (schema, *schema.get("anyOf", ())):
        if each.get("examples") and (field.is_required() or not field.default):
            return each["examples"][0]
        if each.get("enum"):
            return next(word for word in each["enum"] if word != field.default)
        if each.get("type") == "boolean":
            return not field.default
    return None


def _default(field: FieldInfo, schema: Mapping[str, Any]) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel) or value in ([], {}, ()):
        return ""
    titles = {each.get("title") for each in (schema, *schema.get("anyOf", ()))}
    if "duration" in titles:
        return _code(_duration(value))
    if "size" in titles:
        return _code(_size(value))
    return _code(f"{value:.0%}" if "percentage" in titles else value)


def _duration(seconds: float) -> str:
    """Return a duration as users write it: 6h, 26h, 5m, 7d."""
    usual = [unit for unit in "dhms" if seconds % SECONDS[unit] == 0 and (unit != "d" or seconds > 2 * SECONDS["d"])]
    return f"{seconds / SECONDS[usual[0]]:g}{usual[0]}"


def _size(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count % size == 0:
            return f"{count // size}{unit}"
    return f"{count}B"


def _code(value: Any) -> str:
    """Return a value as YAML in code; nothing for None."""
    return "" if value is None else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_yaml(entry) for entry in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return json.dumps(text) if isinstance(value, str) and any(letter in text for letter in "*@?#:{}[]") else text
