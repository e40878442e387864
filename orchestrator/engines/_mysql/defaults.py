r"""The private option file that a client program gets: where the server is, who we are, and the password.

Source: "Using Option Files" in both manuals: values may be quoted, and know the escapes \b \t \n \r \\ \s.
"""

from __future__ import annotations

from orchestrator.engines._mysql.server import Kind
from orchestrator.engines._server import Tls

_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", '"': '\\"'})
_MYSQL_MODES = {
    "disable": "DISABLED",
    "prefer": "PREFERRED",
    "require": "REQUIRED",
    "verify-ca": "VERIFY_CA",
    "verify-full": "VERIFY_IDENTITY",
}


def quoted(value: str) -> str:
    """Return a value as an option file takes it."""
    return f'"{value.translate(_ESCAPES)}"'


def option_file(settings: dict[str, str]) -> bytes:
    """Return an option file with these settings for every program; an empty value is a flag."""
    lines = [f"{name}={quoted(value)}" if value else name for name, value in settings.items()]
    return "\n".join(["[client]", *lines, ""]).encode("utf-8", "surrogateescape")


def tls_settings(tls: Tls, kind: Kind, *, local: bool) -> dict[str, str]:
    """Return how a program of this kind protects the connection.

    MariaDB's programs know no mode between encrypting and checking everything: verify-ca checks the name, too.
    """
    mode = "disable" if local and not tls.model_fields_set else tls.sslmode
    files = {"ssl-ca": tls.ca, "ssl-cert": tls.cert, "ssl-key": tls.key}
    given = {name: value for name, value in files.items() if value and mode != "disable"}
    if kind == "mysql":
        return {"ssl-mode": _MYSQL_MODES[mode]} | given
    if mode == "disable":
        return {"skip-ssl": ""}
    if mode.startswith("verify"):
        return {"ssl": "", "ssl-verify-server-cert": ""} | given
    return {"disable-ssl-verify-server-cert": ""} | ({"ssl": ""} if mode == "require" else {}) | given
