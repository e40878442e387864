"""An item's bytes on their way into a client program: what all servers' engines share."""

from __future__ import annotations

from orchestrator.engines._incoming import PIPE, Consumer, Incoming, pipe

__all__ = ["PIPE", "Consumer", "Incoming", "pipe"]
