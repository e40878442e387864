"""What a MariaDB or MySQL source can be told in services.yml."""

from __future__ import annotations

from pydantic import Field, model_validator

from orchestrator.engines._databases import ALL, DatabaseOptions
from orchestrator.policy.base import Flag
from orchestrator.policy.fault import fault


class Options(DatabaseOptions):
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
    globals: Flag = Field(default=True, description="Whether users and their grants are dumped too.")
    binlog: Flag = Field(
        default=False,
        description="Whether the position in the binary log is noted in each dump; needs RELOAD and BINLOG MONITOR "
        "(MySQL: REPLICATION CLIENT), and may hold all writers for a moment.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if self.container and self.tls.model_fields_set:
            raise fault("tls and container exclude each other", "inside the container the connection is local")
        return self
