"""What a server tells of itself."""

from __future__ import annotations

from orchestrator.engines.redis.wire import Wire


def info(wire: Wire, *sections: str) -> dict[str, str]:
    """Return the fields of INFO; of several sections one by one, since old servers take one. Raises Refused."""
    found: dict[str, str] = {}
    for section in sections:
        for line in wire.text("INFO", section).splitlines():
            name, colon, value = line.partition(":")
            if colon:  # of fields that occur several times (modules) the values are lines
                found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


def number(found: dict[str, str], name: str, default: int = 0) -> int:
    """Return a field's number."""
    text = found.get(name, "")
    return int(text) if text.lstrip("-").isdigit() else default


def server_name(found: dict[str, str]) -> str:
    """Return `Redis 7.0.15` or `Valkey 9.1.2`; "" when it does not tell."""
    if valkey := found.get("valkey_version"):
        return f"Valkey {valkey}"
    version = found.get("redis_version", "")
    return f"Redis {version}" if version else ""
