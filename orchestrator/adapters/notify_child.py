"""Delivers one notification; runs alone in its own process, by path, with nothing of ours imported.

stdin: {"url", "title", "body", "type", "deadline", "parent"} as JSON, or "check" for title, body and type: then only
the URL is looked at · stdout: {"delivered", "reason"} as JSON.
Apprise blocks as long as a server wants; our parent kills us at the deadline, and an alarm does if it is gone.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_LONGEST_REASON = 1 << 16  # our parent shortens it once it holds no secret any more


class _Reasons(logging.Handler):
    """Collects what plugins say about a failure; they log it and return False."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _die_with(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def _deliver(order: dict[str, str]) -> tuple[bool, str]:
    import apprise  # noqa: PLC0415 - after the alarm is set

    reasons = _Reasons()
    logger = logging.getLogger("apprise")
    logger.addHandler(reasons)
    logger.propagate = False
    channel = apprise.Apprise()
    if not channel.add(order["url"]):
        # What Apprise says here quotes the URL in pieces.
        return False, "the channel's URL is not one that Apprise knows"
    if order.get("check"):
        return True, ""
    delivered = bool(channel.notify(body=order["body"], title=order["title"], notify_type=order["type"]))
    return delivered, "; ".join(reasons.said)


def main() -> None:
    """Read the order, deliver, say how it went."""
    order = json.load(sys.stdin)
    _die_with(int(order["parent"]))
    signal.alarm(int(order["deadline"]) + 2)
    # Plugins print; stdout is for the answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    delivered, reason = _deliver(order)
    json.dump({"delivered": delivered, "reason": reason[:_LONGEST_REASON]}, answer)
    answer.close()


if __name__ == "__main__":
    main()
