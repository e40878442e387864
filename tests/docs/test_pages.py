"""Links resolve, and the pages speak of the project alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import PROJECT, Page, pages

PAGES = pages()
# Package registries and archives: addresses are a machine's own configuration, not ours.
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|deb\.debian\.org|(archive|ports|security)\.ubuntu\.com|registry\.npmjs|docker\.io/|proxy\.golang",
    re.IGNORECASE,
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Page) -> None:
    for link in page.links():
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), f"{page.name}: {link}"
        assert target.is_relative_to(PROJECT), f"{page.name}: {link}"
        if anchor:
            assert anchor in Page(target).anchors(), f"{page.name}: {link}"


def shipped() -> list[Path]:
    """Return what a reader may see: pages, scripts and the files at the top."""
    scripts = [path for path in (PROJECT / "scripts").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    top = [path for path in PROJECT.iterdir() if path.is_file() and path.suffix in {".md", ".toml", ".yml"}]
    return sorted({*(page.path for page in PAGES), *scripts, *top, PROJECT / ".ci" / "run"})


@pytest.mark.parametrize("path", shipped(), ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_registry_is_named(path: Path) -> None:
    found = REGISTRIES.search(path.read_text(encoding="utf-8"))
    assert not found, f"{path}: {found}"


def test_every_page_is_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [PROJECT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for link in Page(path).links():
            target = (path.parent / link.partition("#")[0]).resolve()
            if target.is_dir():
                waiting += target.glob("*.md")
            elif target.suffix == ".md" and target.is_file():
                waiting.append(target)
    assert {page.path for page in PAGES} <= seen


def test_changelog_keeps_its_form() -> None:
    sections = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", Page(PROJECT / "CHANGELOG.md").text, re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    assert all(date for _, date in sections[1:])


def test_decisions_are_dated_and_in_order() -> None:
    headings = re.findall(r"^## (.+)$", Page(PROJECT / "docs" / "design.md").text, re.MULTILINE)
    dates = [re.match(r"(\d{4}-\d\d-\d\d) \S", heading) for heading in headings]
    assert all(dates), headings
    assert [date[1] for date in dates if date] == sorted(date[1] for date in dates if date)


def test_the_shipped_inventory_is_what_the_quickstart_makes() -> None:
    demo = (PROJECT / "scripts" / "lib" / "demo.py").read_text(encoding="utf-8")
    made = dict(re.findall(r'^(DATABASE|DOCUMENTS) = "(.+)"$', demo, re.MULTILINE))
    shop = yaml.safe_load((PROJECT / "services.yml").read_text(encoding="utf-8"))["services"]["shop"]
    assert shop["databases"]["main"]["path"] == f"var/shop/{made['DATABASE']}"
    assert shop["paths"] == [f"var/shop/{made['DOCUMENTS']}"]
