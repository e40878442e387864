"""What a MariaDB or MySQL source can be told in services.yml."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, model_validator

from orchestrator.engines._server import ServerOptions
from orchestrator.policy.base import Flag
from orchestrator.policy.fault import fault

ALL = "all"
Pattern = Annotated[str, Field(min_length=1)]


class Options(ServerOptions):
    """The keys of a `databases:` entry with `engine: mariadb` or `engine: mysql`, beside the common ones.

    database: one name, or `all` for every one that is not the server's own, of which `include` and `exclude` choose
    some. globals: users and grants as an item of their own · binlog: note the binary log's position in the dump.
    """

    database: str = Field(
        default=ALL,
        min_length=1,
        description="One database, or `all`: each that is not the server's own.",
        examples=["hub"],
    )
    include: tuple[Pattern, ...] = Field(
        default=(),
        description="With `database: all`: names or patterns (* ?) of those to take; each must match one.",
        examples=[["shop_*"]],
    )
    exclude: tuple[Pattern, ...] = Field(
        default=(), description="With `database: all`: names or patterns (* ?) to leave out.", examples=[["test_*"]]
    )
    globals: Flag = Field(default=True, description="Whether users and their grants are dumped too.")
    binlog: Flag = Field(
        default=False,
        description="Whether the position in the binary log is noted in each dump; needs RELOAD and BINLOG MONITOR "
        "(MySQL: REPLICATION CLIENT), and may hold all writers for a moment.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        for name in ("include", "exclude"):
            if getattr(self, name) and self.database != ALL:
                raise fault(f"{name} is given beside one database", f"{name} goes with database: all")
        if self.container and self.tls.model_fields_set:
            raise fault("tls and container exclude each other", "inside the container the connection is local")
        return self

    def wants(self, database: str) -> bool:
        """Whether `all` covers this database."""
        taken = not self.include or any(_matches(pattern, database) for pattern in self.include)
        return taken and not any(_matches(pattern, database) for pattern in self.exclude)

    def unmatched(self, databases: list[str]) -> list[str]:
        """Return the patterns of `include` that match no database."""
        return [pattern for pattern in self.include if not any(_matches(pattern, name) for name in databases)]


def _matches(pattern: str, name: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)
