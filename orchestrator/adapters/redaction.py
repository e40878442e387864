"""Takes known secrets out of texts before they are written or sent."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus, unquote, urlsplit

from orchestrator.model.secret import Secret

MASK = "***"
# Shorter secrets would blank out ordinary words; nobody is protected by them.
_SHORTEST = 4
_SHORTEST_BASE64 = 8
_PERCENT = re.compile("%[0-9A-F]{2}")
# user:password@ of a URL; the user may be empty, the password may hold anything but a slash or a space.
_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://[^/\s:@]*):[^/\s]*@", re.IGNORECASE)


def forms(text: str) -> set[str]:
    """Return how a secret may appear: itself, its lines, URL-encoded in the usual ways, as in JSON, HTML and repr(),
    and within base64, as `Authorization: Basic` has it.
    """
    whole = {text, text.strip(), *text.split("\n")}
    found = set(whole)
    for form in whole:
        found |= {quote(form, safe=""), quote(form), quote_plus(form), json.dumps(form)[1:-1], repr(form)[1:-1]}
        found |= {json.dumps(form, ensure_ascii=False)[1:-1], html.escape(form), html.escape(form, quote=False)}
        found |= _in_base64(form.encode("utf-8", "surrogateescape"))
    found |= {_PERCENT.sub(lambda match: match[0].lower(), form) for form in found}
    return {form for form in found if len(form) >= _SHORTEST}


def _in_base64(secret: bytes) -> set[str]:
    """Return what base64 makes of a secret within other bytes: what its neighbours have no part in, at each offset."""
    found = set()
    for before in range(3):
        text = base64.b64encode(bytes(before) + secret).decode()
        end = len(text) if (before + len(secret)) % 3 == 0 else len(text) - 4
        found.add(text[4 if before else 0 : end])
    found = {text for text in found if len(text) >= _SHORTEST_BASE64}
    return found | {text.replace("+", "-").replace("/", "_") for text in found}


def url_secrets(url: str) -> set[str]:
    """Return the parts of a notification URL that may be secrets: all but the scheme and a host name or address.

    Many services put a token where the host would be; such a one has no dot.
    """
    parts = urlsplit(url)
    words = {url, parts.netloc.rpartition("@")[0], *parts.netloc.rpartition("@")[0].split(":")}
    host = parts.netloc.rpartition("@")[2]
    name = host.rpartition(":")[0] or host
    if "." not in name and name != "localhost" and not name.startswith("["):
        words |= {host, *host.split(":")}
    words |= set(parts.path.split("/")) | {pair.partition("=")[2] for pair in parts.query.split("&")} | {parts.fragment}
    found = set[str]()
    for word in words:
        found |= forms(word) | forms(unquote(word))
    return found


def conceal(text: str, words: Iterable[str]) -> str:
    """Replace every word by `***`, the longest first."""
    for word in sorted(set(words), key=len, reverse=True):
        if word:
            text = text.replace(word, MASK)
    return text


def redact_url(text: str) -> str:
    """Replace the password of every URL in `text` by `***`; the user stays."""
    return _USERINFO.sub(rf"\g<scheme>:{MASK}@", text)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Replace URL passwords, and every given secret in each of its forms, by `***`."""
    return redact_url(conceal(text, set[str]().union(*(forms(secret) for secret in secrets))))


class Redactor:
    """Replaces all secrets that `known` returns by then, in every form, within texts."""

    def __init__(self, known: Callable[[], Iterable[Secret]]) -> None:
        self._known = known
        self._forms: dict[Secret, set[str]] = {}

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        for secret in tuple(self._known()):
            if secret not in self._forms:
                self._forms[secret] = forms(secret.reveal())
        return conceal(text, set[str]().union(*self._forms.values()))
