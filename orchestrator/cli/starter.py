"""The starter files that `resguardo init` writes where there are none."""

from __future__ import annotations

import os
import re
import secrets
import socket

from orchestrator.model.errors import Precondition

POLICY = """\
# How this host is backed up. Check it with `resguardo validate`; see what it would do with `resguardo plan`.
version: 1
host: {host}

repositories:
  local:
    url: var/repository              # or sftp:user@server:/path, s3:https://server/bucket, rest:https://server/
    password: {{file: var/repository.key}}   # keep a copy of this file elsewhere: without it nothing can be read

retention:
  default: {{last: 7, daily: 30, weekly: 52, monthly: 36, yearly: 5}}

# notify:
#   channels:
#     ops: {{url: {{env: APPRISE_OPS_URL}}}}   # any Apprise URL: mailto://, slack://, ntfy://, json://
#   rules:
#     - {{on: [failed, warning, recovered], to: [ops]}}
"""

SERVICES = """\
# What is backed up: services, each with its databases and paths.
services:
  example:
    paths: [{path}]
    # databases:
    #   main: {{engine: sqlite, path: /srv/example/app.db}}
    #   shop: {{engine: postgresql, host: 127.0.0.1, database: shop, user: backup, password: {{env: SHOP_DB_PASSWORD}}}}
"""


def write_starter(policy_path: str) -> list[str]:
    """Write policy.yml, services.yml and the key where they are missing; return what was written.

    The key has 256 bits and mode 0600. Raises Precondition when a place cannot be written.
    """
    folder = os.path.dirname(os.path.abspath(policy_path))
    written = []
    try:
        if not os.path.lexists(policy_path):
            os.makedirs(folder, exist_ok=True)
            services = os.path.join(folder, "services.yml")
            _create(policy_path, POLICY.format(host=_host()), 0o644)
            written.append(policy_path)
            if not os.path.lexists(services):
                _create(services, SERVICES.format(path=_quoted(os.path.join(folder, "example"))), 0o644)
                os.makedirs(os.path.join(folder, "example"), exist_ok=True)
                written.append(services)
    except OSError as error:
        raise Precondition(f"{error.filename}: {error.strerror}", "choose another place with -c") from error
    return written


def make_keys(paths: list[str]) -> list[str]:
    """Write a new key at each path that does not exist; return those written."""
    written = []
    for path in paths:
        if os.path.lexists(path):
            continue
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _create(path, secrets.token_hex(32) + "\n", 0o600)
        written.append(path)
    return written


def _create(path: str, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _host() -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", socket.gethostname().lower()).strip("-._") or "host"


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"
