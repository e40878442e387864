"""Notifications through Apprise, each in a process of its own that is killed at the deadline."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping

from orchestrator.adapters.redaction import conceal, url_secrets
from orchestrator.model.errors import Precondition
from orchestrator.model.secret import Secret

DEADLINE = 10.0
_LONGEST_REASON = 1000
_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "notify_child.py")
# What a delivery needs to find its way: proxies, certificates, name resolution. No secret of ours is among them.
_PASSED_ON = frozenset({"PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "RES_OPTIONS"})
_TYPES = {"success": "success", "recovered": "success", "failed": "failure", "partial": "warning", "warning": "warning"}
_HINT = "check the channel's URL and its server, then run resguardo notify test"


class AppriseNotifier:
    """Sends to the channels of a policy. channels: name → what resolves its URL · deadline: seconds for one delivery.

    Safe to call from several threads. The URL goes to the child over stdin, never in argv or environment.
    """

    def __init__(self, channels: Mapping[str, Callable[[], Secret]], *, deadline: float = DEADLINE) -> None:
        self._channels = channels
        self._deadline = deadline

    def send(self, channel: str, title: str, body: str, severity: str) -> None:
        """Deliver one notification. Raises Precondition: unknown channel, URL not to be had, refused, too late."""
        self._order(channel, title=title, body=body, type=_TYPES.get(severity, "info"))

    def check(self, channel: str) -> None:
        """See that Apprise takes the channel's URL; nothing is sent. Raises Precondition, RightsMissing."""
        self._order(channel, check=True)

    def _order(self, channel: str, **what: str | bool) -> None:
        if channel not in self._channels:
            raise Precondition(f"channel {channel}: not in policy.yml", "add it under notify.channels")
        url = self._channels[channel]().reveal()
        order = {**what, "url": url, "deadline": self._deadline, "parent": os.getpid()}
        delivered, reason = self._run(json.dumps(order).encode())
        if not delivered:
            # Shortened afterwards: a secret of which a part was cut off would not be known any more.
            clean = conceal(" ".join(reason.split()), url_secrets(url))[:_LONGEST_REASON]
            clean = clean or "its server did not take the message"
            raise Precondition(f"channel {channel}: {clean}", _HINT)

    def _run(self, order: bytes) -> tuple[bool, str]:
        env = {name: text for name, text in os.environ.items() if name in _PASSED_ON or name.lower().endswith("_proxy")}
        child = subprocess.Popen(
            [sys.executable, "-I", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            cwd="/",
            start_new_session=True,
        )
        try:
            answer, _ = child.communicate(order, timeout=self._deadline)
        except subprocess.TimeoutExpired:
            return False, f"no answer within {self._deadline:g} s"
        finally:
            _end(child)
        try:
            said = json.loads(answer)
            return bool(said["delivered"]), str(said["reason"])
        except (ValueError, KeyError, TypeError):
            return False, f"the delivery ended with exit code {child.returncode}"


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the delivery with whatever it started, and reap it."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            # What was not yet written to a dead child cannot be flushed.
            with contextlib.suppress(OSError):
                stream.close()
