"""Keeps credentials out of what we say: URLs with passwords, and the secrets that restic was given."""

from __future__ import annotations

import re
from collections.abc import Iterable

# user:password@ of a URL; the user may be empty, the password may hold anything but a slash or a space.
_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://[^/\s:@]*):[^/\s]*@", re.IGNORECASE)
# Shorter secrets would blank out ordinary words.
_SHORTEST = 4


def redact_url(text: str) -> str:
    """Replace the password of every URL in `text` by `***`."""
    return _USERINFO.sub(r"\g<scheme>:***@", text)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Replace URL passwords and every given secret by `***`."""
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, "***")
    return redact_url(text)
