"""Run one command and write what it cost, all its descendants included, as JSON.

Run as a program by itself (`python -I -S meter.py RESULT COMMAND…`), so that nothing but the command and what it
started is counted: orphans come to us (PR_SET_CHILD_SUBREAPER) and are waited for as well.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36


def main(result: str, argv: list[str]) -> int:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    child = os.posix_spawnp(argv[0], argv, os.environ)
    cost = {"wall": 0.0, "cpu": 0.0, "rss": 0, "exit": -1, "after": 0.0}
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        cost["cpu"] += usage.ru_utime + usage.ru_stime
        cost["rss"] = max(cost["rss"], usage.ru_maxrss)
        if pid == child:
            cost["wall"] = time.monotonic() - began
            cost["exit"] = os.waitstatus_to_exitcode(status)
    cost["after"] = time.monotonic() - began - cost["wall"]
    with open(result, "w", encoding="ascii") as file:
        json.dump(cost, file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
