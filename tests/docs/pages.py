"""The documentation as tests see it: pages, headings, links and code blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One Markdown page."""

    path: Path

    @property
    def name(self) -> str:
        """Its path in the project."""
        return str(self.path.relative_to(PROJECT))

    @property
    def text(self) -> str:
        """Its text."""
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str) -> Iterator[str]:
        """Yield the code blocks of one language."""
        return (body for found, body in _FENCE.findall(self.text) if found == language)

    def links(self) -> list[str]:
        """Return the targets of its links; what stands in code is no link."""
        return _LINK.findall(re.sub(r"`[^`\n]*`", "", _FENCE.sub("", self.text)))

    def anchors(self) -> set[str]:
        """Return the anchors of its headings, as code forges make them."""
        words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(_FENCE.sub("", self.text)))
        return {word.strip().replace(" ", "-") for word in words}


def pages() -> list[Page]:
    """Return every page of the project."""
    return [Page(path) for path in sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])]


def command_lines(block: str) -> Iterator[str]:
    """Yield the commands of a shell block: continued lines joined, comments and prompts dropped."""
    for line in block.replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s)#.*$", "", line).strip().removeprefix("$ ")
        if command:
            yield command
