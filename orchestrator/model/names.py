"""Names that are safe everywhere: sources, snapshot tags, stored files, runs and restore points.

Hostile database and file names never become a tag or a file name as they are: they live in the manifest.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from urllib.parse import quote

NAME_PATTERN = r"[a-z0-9][a-z0-9._-]{0,47}"
RESERVED = frozenset({"all", "files", "manifest"})
RESTORING = ".restoring-"  # in the names of what an in-place restore makes beside the original
MANIFEST_FILE = "manifest.json"
_NAME = re.compile(NAME_PATTERN)
_RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_LONGEST_ITEM = 120


def is_name(text: str) -> bool:
    """Say whether text may name a service, tier, source, repository or job (commas would split restic's tags)."""
    return _NAME.fullmatch(text) is not None


def encode_item(item: str) -> str:
    """Percent-encode a name outside [A-Za-z0-9_-]; over 120 bytes it is cut and 12 hex of its SHA-256 follow."""
    encoded = quote(item, safe="-", errors="surrogateescape").replace(".", "%2E").replace("~", "%7E")
    if len(encoded) <= _LONGEST_ITEM:
        return encoded
    digest = hashlib.sha256(item.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"{encoded[: _LONGEST_ITEM - 13]}.{digest}"


def stored_name(source: str, item: str, extension: str) -> str:
    """Return the flat file name `<source>.<item>.<ext>` under which an item is stored; stable from run to run."""
    return f"{source}.{encode_item(item)}.{extension}"


def new_run_id(now: datetime, random_hex: str) -> str:
    """Return a run's ID, `YYYYMMDDTHHMMSSZ-` and 6 hex digits."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{random_hex}"


def is_run_id(text: str) -> bool:
    """Say whether text has the form of a run's ID."""
    return _RUN.fullmatch(text) is not None


def point_id(service: str, tier: str, run: str) -> str:
    """Return a restore point's ID, `service.tier@run`; the same in every repository."""
    return f"{service}.{tier}@{run}"


def kept_name(name: str, now: datetime) -> str:
    """Return the name that replaced data is kept under, `<name>_before_<time>`."""
    return f"{name}_before_{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
