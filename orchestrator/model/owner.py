"""Whose a file was, and who might do what with it: what a restored file needs before its service can open it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Owner:
    """Owner, group and permissions of a file.

    user, group: names, "" for numbers without one; on another machine they count more than the numbers.
    uid, gid: the numbers · mode: permissions in octal, `0640`.
    """

    user: str
    group: str
    uid: int
    gid: int
    mode: str

    @property
    def permissions(self) -> int:
        """The mode as a number; bits that would let a file run as its owner are never brought back."""
        return int(self.mode, 8) & 0o777

    @property
    def who(self) -> str:
        """`user:group`, as chown takes it."""
        return f"{self.user or self.uid}:{self.group or self.gid}"

    @classmethod
    def read(cls, body: Mapping[str, Any] | None) -> Owner | None:
        """Read the stored form; None where there is none. Raises ValueError, KeyError, TypeError."""
        if body is None:
            return None
        owner = cls(str(body["user"]), str(body["group"]), int(body["uid"]), int(body["gid"]), str(body["mode"]))
        if owner.permissions < 0 or owner.uid < 0 or owner.gid < 0:
            raise ValueError(f"no owner: {body!r}")
        return owner
