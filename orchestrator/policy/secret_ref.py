"""Where a secret is to be found; the policy holds no secret itself, since its text is stored with every backup."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from orchestrator.policy.base import PolicyModel
from orchestrator.policy.fault import fault
from orchestrator.policy.paths import LocalPath

KINDS = ("file", "env", "command")
HINT = "write {file: PATH}, {env: NAME} or {command: [PROGRAM, ARGUMENT]}"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_env_name(value: Any) -> Any:
    """Check the name of an environment variable; its text is not repeated: it may be a secret put there by mistake."""
    if not isinstance(value, str) or not _ENV_NAME.fullmatch(value):
        raise fault("not the name of an environment variable", "names have letters, digits and _, and no digit first")
    return value


def _command(value: Any) -> tuple[str, ...]:
    words = _split(value) if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise fault("expected a program with its arguments", "write [PROGRAM, ARGUMENT], each word a text")
    if not words or not words[0]:
        raise fault("an empty command", "write [PROGRAM, ARGUMENT]")
    return tuple(words)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise fault(f"cannot be split into words: {str(error).lower()}", "write it as a list of words") from None


_COMMAND_SCHEMA = {
    "title": "command",
    "examples": [["pass", "show", "backups/demo"]],
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
    ],
}
EnvName = Annotated[
    str, BeforeValidator(check_env_name), WithJsonSchema({"type": "string", "pattern": f"^{_ENV_NAME.pattern}$"})
]


class SecretRef(PolicyModel):
    """A reference to a secret: exactly one of the three is set.

    file: absolute path · env: name of a variable · command: argument vector that prints the secret (no shell).
    """

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    file: LocalPath | None = Field(
        default=None,
        description="File that holds the secret, open to its owner alone (0600); a line break at its end is dropped.",
        examples=["/etc/resguardo/hub.password"],
    )
    env: EnvName | None = Field(
        default=None, description="Environment variable that holds the secret.", examples=["HUB_PASSWORD"]
    )
    command: Annotated[tuple[str, ...], BeforeValidator(_command), WithJsonSchema(_COMMAND_SCHEMA)] | None = Field(
        default=None, description="Program that prints the secret, with its arguments; no shell, 30 seconds at most."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_of_three(cls, value: Any) -> Any:
        if isinstance(value, SecretRef):
            return value
        if not isinstance(value, dict):
            raise fault("expected a reference to a secret, not the secret itself", HINT)
        given = [kind for kind in KINDS if value.get(kind) is not None]
        # Only unknown keys: they are reported one by one, with what was probably meant.
        if len(given) != 1 and (given or not set(value) - set(KINDS)):
            found = " and ".join(given) or "none"
            raise fault(f"expected exactly one of file, env and command, found {found}", HINT)
        return value

    def __str__(self) -> str:
        if self.command:
            return f"command {self.command[0]}"
        return f"file {self.file}" if self.file else f"environment variable {self.env}"
