"""Examples of documents: a small site is made, backed up, lost and restored, and what the program says is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from orchestrator.report.document import schema_id

LIB = Path(__file__).resolve().parents[1] / "lib"
SHOWN_ROOT = "/srv/resguardo"
POLICY = """\
version: 1
host: hub-01
repositories:
  local: {url: repository, password: {file: repository.key}}
retention:
  default: {daily: 30}
notify:
  channels:
    ops: {url: {file: ops.url}}
"""
SERVICES = """\
services:
  shop:
    databases:
      main: {engine: sqlite, path: shop/shop.db}
    paths: [shop/files]
"""
# document → arguments; in the order in which a site lives. {point} is the first restore point's ID.
COMMANDS: dict[str, tuple[str, ...]] = {
    "init": ("init",),
    "validate": ("validate",),
    "schema": ("schema", "policy"),
    "plan": ("plan",),
    "backup": ("backup",),
    "list": ("list",),
    "restore-plan": ("restore", "shop", "--latest", "--to", "{root}/restored", "--dry-run"),
    "restore": ("restore", "shop", "--latest", "--to", "{root}/restored"),
    "verify": ("verify", "--quick"),
    "show": ("show", "{point}"),
    "show-files": ("show", "{point}", "--files"),
    "prune-plan": ("prune", "--dry-run"),
    "prune-simulate": ("prune", "--simulate", "1m"),
    "prune": ("prune",),
    "status": ("status",),
    "doctor": ("doctor",),
    "failpoints": ("doctor", "--failpoints"),
    "notify-test": ("notify", "test"),
    "recover": ("recover",),
    "catalog-rebuild": ("catalog", "rebuild"),
    "error": ("show", "shop.default@2020"),
}


def capture() -> dict[str, str]:
    """Run every command on a new site; return each document as JSON text, cut short."""
    with tempfile.TemporaryDirectory(prefix="resguardo-examples-") as folder:
        return dict(_live(os.path.realpath(folder)))


def _live(root: str) -> dict[str, str]:
    Path(root, "policy.yml").write_text(POLICY, encoding="utf-8")
    Path(root, "services.yml").write_text(SERVICES, encoding="utf-8")
    Path(root, "ops.url").touch(0o600)
    Path(root, "ops.url").write_text("json://127.0.0.1:9/\n", encoding="utf-8")
    subprocess.run(
        [sys.executable, str(LIB / "demo.py"), "make", f"{root}/shop"], check=True, stdout=subprocess.DEVNULL
    )
    found: dict[str, str] = {}
    names = {"root": root}
    for name, words in COMMANDS.items():
        if name == "recover":
            _run(root, "backup", RESGUARDO_FAILPOINT="commit.started")
        if name == "catalog-rebuild":
            for file in Path(root, "state").glob("catalog.db*"):
                file.unlink()
        text = _run(root, *(word.format(**names) for word in words))
        document = json.loads(text)
        if document["schema"] != schema_id(name):
            raise SystemExit(f"{' '.join(words)}: not the document of {name}:\n{text}")
        if name == "list":
            names["point"] = document["restore_points"][0]["id"]
        shown = json.dumps(_short(document), indent=2, sort_keys=True, ensure_ascii=False)
        found[name] = shown.replace(root, SHOWN_ROOT) + "\n"
    return found


def _run(root: str, *words: str, **more: str) -> str:
    argv = [sys.executable, "-m", "orchestrator", "-c", f"{root}/policy.yml", "--json", *words]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env = {**kept, "RESGUARDO_STATE": f"{root}/state", "LANG": "C.UTF-8", **more}
    return subprocess.run(argv, env=env, check=False, capture_output=True, text=True, timeout=300).stdout


def _short(value: Any) -> Any:
    """Cut lists and maps to their first entry; objects keep all of their keys."""
    if isinstance(value, list):
        return [_short(entry) for entry in value[:1]]
    if not isinstance(value, dict):
        return value
    return {key: _short_map(entry) if key in MAPS else _short(entry) for key, entry in value.items()}


MAPS = frozenset({"counts", "data", "failpoints", "schemas", "snapshots"})


def _short_map(value: Any) -> Any:
    if not isinstance(value, dict):
        return _short(value)
    first = dict(list(value.items())[:1])
    return {key: {"$schema": entry["$schema"]} if isinstance(entry, dict) else entry for key, entry in first.items()}
