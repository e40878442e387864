"""Errors of the machine below us (full disks, exhausted limits) as errors that a record can hold."""

from __future__ import annotations

import errno

from orchestrator.model.errors import DiskFull, Precondition, RightsMissing

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
_RIGHTS = (errno.EACCES, errno.EPERM, errno.EROFS)


def explained(error: OSError, place: str = "") -> Precondition:
    """Return what an error of the operating system means; it never escapes a run. place: where, if it does not say."""
    where = error.filename or place
    what = f"{error.strerror or error}".lower() + (f": {where}" if where else "")
    if error.errno in _FULL:
        return DiskFull(what, "make room on that disk" if where else "make room on this machine's disks and in memory")
    if error.errno in _LIMITS:
        return Precondition(what, "raise the limits of open files, processes and memory, or lower `parallel`")
    if error.errno in _RIGHTS:
        return RightsMissing(what, "check owner, mode and mount options there")
    return Precondition(what, "look at this machine's disks and limits")
