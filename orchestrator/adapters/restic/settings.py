"""What the adapter must be told about one repository, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.model.secret import Secret

Ionice = Literal["idle", "best-effort"]


@dataclass(frozen=True)
class Settings:
    """One repository and how restic shall be run on it.

    name: as in the policy · url: restic's (`/path`, `sftp:`, `rest:`, `s3:` …; may hold credentials) · host: the
    policy's, never the container's · password: resolved when first needed · cache: our own directory for restic's
    cache, its temporary packs and its version · program: path or name of restic · env: what else restic needs
    (`AWS_ACCESS_KEY_ID` …; secret values are Secrets) · options: `-o key=value` · upload, download: KiB/s ·
    nice: added niceness, None for none · retry_lock: seconds that commands wait for a lock that is in their way ·
    connect: seconds after which a silent or refusing server counts as unreachable.
    """

    name: str
    url: str = field(repr=False)
    host: str
    password: Callable[[], Secret] = field(repr=False)
    cache: str
    program: str = "restic"
    env: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    compression: str = "auto"
    upload: int | None = None
    download: int | None = None
    nice: int | None = None
    ionice: Ionice | None = None
    retry_lock: float = 300.0
    connect: float = 60.0
