"""What sources of servers with several databases can be told: which of them are taken."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, model_validator

from orchestrator.engines._server import ServerOptions
from orchestrator.model.errors import Precondition
from orchestrator.policy.fault import fault

ALL = "all"
Pattern = Annotated[str, Field(min_length=1)]


def matches(pattern: str, name: str) -> bool:
    """Whether a name is this one, or fits it as a pattern (* ? [)."""
    return name == pattern or fnmatchcase(name, pattern)


class DatabaseOptions(ServerOptions):
    """database: one name, or `all`, of which `include` and `exclude` choose some; each engine says what `all` is."""

    database: str = Field(default=ALL, min_length=1, description="One database, or `all`.", examples=["hub"])
    include: tuple[Pattern, ...] = Field(
        default=(),
        description="With `database: all`: names or patterns (* ?) of those to take; each must match one.",
        examples=[["shop_*"]],
    )
    exclude: tuple[Pattern, ...] = Field(
        default=(), description="With `database: all`: names or patterns (* ?) to leave out.", examples=[["test_*"]]
    )

    @model_validator(mode="after")
    def _chosen_of_all(self) -> DatabaseOptions:
        for name in ("include", "exclude"):
            if getattr(self, name) and self.database != ALL:
                raise fault(f"{name} is given beside one database", f"{name} goes with database: all")
        return self

    def wants(self, database: str) -> bool:
        """Whether `all` covers this database."""
        taken = not self.include or any(matches(pattern, database) for pattern in self.include)
        return taken and not any(matches(pattern, database) for pattern in self.exclude)

    def assert_matched(self, databases: Sequence[str]) -> None:
        """Refuse a pattern of `include` that matches none of these. Raises Precondition."""
        for pattern in self.include:
            if not any(matches(pattern, name) for name in databases):
                text = f"include: no database matches {pattern!r}"
                raise Precondition(text, "correct include, or create the database")
