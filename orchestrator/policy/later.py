"""What the design has and this version has not: refused by name, since a setting that is silently ignored is a lie."""

from __future__ import annotations

WORDS = "not available in this version"
HINT = "remove it for now"

# Keys by place; `*` is any name or position.
KEYS: frozenset[tuple[str, ...]] = frozenset(
    {
        ("repositories", "*", "copy_from"),
        ("services", "*", "quiesce"),
        ("services", "*", "depends_on"),
        ("services", "*", "drill"),
        ("services", "*", "volumes"),
    }
)
ENGINES: frozenset[str] = frozenset()
JOBS = frozenset({"drill"})
MOST_REPOSITORIES = 1


def is_later(path: tuple[str | int, ...]) -> bool:
    """Say whether a key at this place is designed but not built."""
    return any(
        len(path) == len(pattern) and all(want in ("*", part) for part, want in zip(path, pattern, strict=True))
        for pattern in KEYS
    )
