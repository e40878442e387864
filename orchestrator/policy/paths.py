"""Paths as users write them: absolute, or relative to the folder of policy.yml."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema

from orchestrator.policy.fault import fault, shown


def directory_of(info: ValidationInfo) -> str:
    """Return the folder that relative paths start from: the validation context's `directory`, else the current one."""
    context: Any = info.context
    directory = context.get("directory") if isinstance(context, dict) else None
    return str(directory) if directory else os.getcwd()


def resolve_path(text: str, directory: str) -> str:
    """Return `text` as an absolute path without `.` and `..`; links are not followed and nothing is expanded."""
    if text.startswith("~"):
        raise fault(f"`~` is not expanded in a path: {shown(text)}", "write the whole path, or ${HOME}/…")
    return os.path.normpath(os.path.join(directory, text))


def _local_path(value: Any, info: ValidationInfo) -> str:
    if not isinstance(value, str):
        raise fault(f"expected a path, found {shown(value)}", "put it in quotes if it is a path")
    if not value.strip():
        raise fault("an empty path", "write an absolute path, or one relative to policy.yml")
    return resolve_path(value, directory_of(info))


# Needs the validation context {"directory": folder of policy.yml}; gives an absolute path.
LocalPath = Annotated[
    str,
    BeforeValidator(_local_path),
    WithJsonSchema({"type": "string", "minLength": 1, "title": "path"}),
]
