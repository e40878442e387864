"""libpq's connection service file, and which of its parameters anybody may read."""

from __future__ import annotations

import configparser
import os

from orchestrator.model.errors import Precondition

# What may stand in a process list; all that we do not know may be a secret, and goes a private way.
OPEN = frozenset(
    (
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "passfile",
        "connect_timeout",
        "client_encoding",
        "options",
        "application_name",
        "fallback_application_name",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "replication",
        "gssencmode",
        "sslmode",
        "requiressl",
        "sslnegotiation",
        "sslcompression",
        "sslcert",
        "sslkey",
        "sslrootcert",
        "sslcrl",
        "sslcrldir",
        "sslcertmode",
        "sslsni",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "requirepeer",
        "krbsrvname",
        "gsslib",
        "gssdelegation",
        "target_session_attrs",
        "load_balance_hosts",
        "channel_binding",
        "require_auth",
        "min_protocol_version",
        "max_protocol_version",
    )
)


def section(name: str, file: str | None) -> dict[str, str]:
    """Read a section of a connection service file. Source: the manual's chapter "The Connection Service File".

    Raises Precondition.
    """
    folder = os.environ.get("PGSYSCONFDIR", "/etc/postgresql-common")
    usual = (os.environ.get("PGSERVICEFILE") or os.path.expanduser("~/.pg_service.conf"), f"{folder}/pg_service.conf")
    for path in (file,) if file else usual:
        parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=False)
        try:
            with open(path, encoding="utf-8") as lines:
                parser.read_file(lines)
        except FileNotFoundError:
            continue
        except (OSError, configparser.Error, UnicodeError) as error:
            raise Precondition(f"{path}: the service file cannot be read: {error}", "mend it") from error
        if parser.has_section(name):
            return dict(parser.items(name))
    raise Precondition(f"service {name!r} is in none of {file or ', '.join(usual)}", "add it, or set service_file")
