"""The starter files that `resguardo init` writes where there are none."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Iterable

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
  # A change of these rules that would remove more than this of a service at once removes nothing until you have seen
  # it (`resguardo prune --dry-run`) and said so (`resguardo prune --force`).
  guard: {{max_forget: 30%, keep_proven: 1}}

# notify:
#   channels:
#     ops: {{url: {{file: var/ops.url}}}}   # a file (chmod 600) with any Apprise URL: mailto://, slack://, ntfy://, json://
#   rules:
#     - {{on: [failed, partial, warning, recovered], to: [ops]}}
"""

SERVICES = """\
# What is backed up: services, each with its databases and paths.
services:
  example:
    paths: [{path}]
    # databases:
    #   main: {{engine: sqlite, path: /srv/example/app.db}}
    #   shop:
    #     engine: postgresql
    #     host: 127.0.0.1
    #     database: shop
    #     user: backup
    #     password: {{file: var/shop.password}}   # chmod 600
"""


def write_starter(policy_path: str) -> list[str]:
    """Write policy.yml, and the inventory that it names, each where it is missing; return what was written.

    Beside a policy.yml that cannot be read no inventory is written: only the policy says where it belongs. Raises
    Precondition when a place cannot be written.
    """
    from orchestrator.policy.loading import services_path  # noqa: PLC0415 - start-up

    written = []
    if not os.path.lexists(policy_path):
        _create(policy_path, POLICY.format(host=_host()), 0o644)
        written.append(os.path.abspath(policy_path))
    services = services_path(policy_path)
    if services is not None and not os.path.lexists(services):
        example = os.path.join(os.path.dirname(os.path.realpath(policy_path)), "example")
        _folder(example, 0o755)
        _create(services, SERVICES.format(path=_quoted(example)), 0o644)
        written.append(services)
    return written


def make_keys(paths: Iterable[str]) -> list[str]:
    """Write a new key of 256 bits, mode 0600, at each path that does not exist; return those written.

    Raises Precondition when a place cannot be written.
    """
    written = []
    for path in paths:
        if not os.path.lexists(path):
            _folder(os.path.dirname(path), 0o700)
            _create(path, secrets.token_hex(32) + "\n", 0o600)
            written.append(path)
    return written


def _create(path: str, text: str, mode: int) -> None:
    """Write a new file; one that did not become whole is removed, or the next `init` would take it for the user's."""
    _folder(os.path.dirname(os.path.abspath(path)), 0o755)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(path)
            raise
    except OSError as error:
        raise _unwritable(path, error) from None


def _folder(path: str, mode: int) -> None:
    try:
        os.makedirs(path, mode=mode, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: str, error: OSError) -> Precondition:
    reason = (error.strerror or "failed").lower()
    return Precondition(f"cannot write {path}: {reason}", "make it writable, or choose another place with -c")


def _host() -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", socket.gethostname().lower()).strip("-._") or "host"


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"
