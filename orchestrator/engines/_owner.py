"""Owner, group and mode of a single file: noted when it is dumped, given back when it is restored."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from contextlib import suppress

from orchestrator.model.execution import Finding
from orchestrator.model.owner import Owner


def owner_of(status: os.stat_result) -> Owner:
    """Return a file's owner with the names of this machine."""
    user = group = ""
    with suppress(KeyError):
        user = pwd.getpwuid(status.st_uid).pw_name
    with suppress(KeyError):
        group = grp.getgrgid(status.st_gid).gr_name
    return Owner(user, group, status.st_uid, status.st_gid, f"{stat.S_IMODE(status.st_mode):04o}")


def give(path: str, owner: Owner) -> tuple[Finding, ...]:
    """Give a restored file its owner and mode; say what could not be given. A stranger's file stays private."""
    uid, gid, absent = _numbers(owner)
    remedy = f"chown {owner.who} FILE && chmod {owner.mode} FILE"
    try:
        status = os.stat(path)
        if (status.st_uid, status.st_gid) != (uid, gid):
            os.chown(path, uid, gid)
        os.chmod(path, owner.permissions)
    except OSError as error:
        text = f"it belonged to {owner.who} with mode {owner.mode}, which cannot be given back: {error.strerror}"
        return (Finding("warning", text, f"as root: {remedy}"),)
    if absent:
        text = f"this machine has no {' and no '.join(absent)}: the number of then was given, {uid}:{gid}"
        return (Finding("warning", text, f"create what is missing, then {remedy}"),)
    return ()


def _numbers(owner: Owner) -> tuple[int, int, list[str]]:
    """Return the numbers to give: those of the names on this machine, else those of then; and what is unknown here."""
    uid, gid, absent = owner.uid, owner.gid, []
    if owner.user:
        try:
            uid = pwd.getpwnam(owner.user).pw_uid
        except KeyError:
            absent.append(f"user {owner.user!r}")
    if owner.group:
        try:
            gid = grp.getgrnam(owner.group).gr_gid
        except KeyError:
            absent.append(f"group {owner.group!r}")
    return uid, gid, absent


def like_folder(path: str, folder: str) -> Finding:
    """Give a file the owner of its folder, for want of better, and say so. Raises OSError."""
    status = os.stat(folder)
    os.chown(path, status.st_uid, status.st_gid)
    who = owner_of(status).who
    return Finding(
        "warning",
        f"there was no file whose owner it could take, and the restore point tells none: it belongs to {who}, as its "
        "folder does, with mode 0600",
        "chown USER:GROUP FILE && chmod MODE FILE, as the service needs it",
    )
