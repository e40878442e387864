"""What all models of the two files share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict, WithJsonSchema

from orchestrator.model.names import NAME_PATTERN, RESERVED, is_name
from orchestrator.policy.fault import fault, shown

# YAML 1.2 has two booleans; pydantic's lax mode would also take "yes" and "on".
Flag = Annotated[bool, Strict()]
# Lax mode would take "2" and true.
Whole = Annotated[int, Strict()]


class PolicyModel(BaseModel):
    """Frozen, unknown keys refused, and built only when first used: loading must stay cheap."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, hide_input_in_errors=True)


def _suggested(text: str) -> str:
    plain = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("._-")[:48].rstrip("._-")
    return f"; for example {plain!r}" if is_name(plain) and plain not in RESERVED else ""


def check_name(value: Any) -> Any:
    """Check a name that goes into tags and file names. Raises the fault for its key."""
    if not isinstance(value, str) or not is_name(value):
        text = value if isinstance(value, str) else ""
        rule = "1 to 48 of a-z 0-9 . _ - and a letter or digit first"
        raise fault(f"not a valid name: {shown(value)}", f"names have {rule}{_suggested(text)}")
    if value in RESERVED:
        raise fault(f"the name {value!r} is reserved", "choose another name")
    return value


Name = Annotated[
    str,
    BeforeValidator(check_name),
    WithJsonSchema({"type": "string", "title": "name", "pattern": f"^{NAME_PATTERN}$"}),
]
