"""Where a repository is: restic's URL, a local path made absolute."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema

from orchestrator.policy.fault import did_you_mean, fault, shown
from orchestrator.policy.paths import directory_of, resolve_path

# restic's backends: https://restic.readthedocs.io/en/stable/030_preparing_a_new_repo.html
SCHEMES = ("sftp", "rest", "s3", "swift", "b2", "azure", "gs", "rclone")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PASSWORD = re.compile(r"//[^/@\s]*:[^/@\s]+@")


def has_password(url: str) -> bool:
    """Say whether a URL holds a password (`//user:password@host`)."""
    return _PASSWORD.search(url) is not None


def _url(value: Any, info: ValidationInfo) -> str:
    if not isinstance(value, str):
        raise fault("expected a path or a restic URL", "write a path, or for example sftp:user@host:/path")
    text = value.strip()
    match = _SCHEME.match(text)
    scheme = match[1] if match else "local"
    if scheme in SCHEMES and len(text) > len(scheme) + 1:
        return text
    if match and scheme != "local":
        hint = did_you_mean(scheme, SCHEMES, kind="known kinds")
        if scheme in ("http", "https"):
            hint = f"a REST server is written rest:{scheme}://…, an S3 service s3:{scheme}://…"
        raise fault(f"not a kind of repository that restic knows: {shown(scheme)}", hint)
    path = text.removeprefix("local:")
    if not path:
        raise fault("an empty path", "write where the repository is")
    return resolve_path(path, directory_of(info))


RepositoryUrl = Annotated[
    str,
    BeforeValidator(_url),
    WithJsonSchema(
        {
            "type": "string",
            "title": "repository",
            "minLength": 1,
            "examples": ["var/repository", "sftp:user@host:/path"],
        }
    ),
]
