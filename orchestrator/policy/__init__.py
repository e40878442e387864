"""The two files that users write: YAML with places, pydantic models, secret references, JSON Schema."""
