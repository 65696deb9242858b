"""Links, paths and names in the README and in docs/ lead somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import perception

ROOT = Path(__file__).parents[1]
DOCS = sorted(ROOT.glob("docs/*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS]
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.M)
DIRECTIVE = re.compile(r"^::: (\S+)\n(?:    options:\n      members: \[(.*)\]\n)?", re.M)


def text_of(page: Path) -> str:
    return FENCED.sub("", page.read_text("utf-8"))


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and the site make it."""
    words = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
    return words.strip().replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in HEADING.findall(text_of(page))}


def links(page: Path) -> list[str]:
    """The relative links of a page, images among them; code in backticks has none."""
    plain = re.sub(r"`[^`]*`", "", text_of(page))
    found = LINK.findall(plain)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(
        r"\b(?:perception|tools|tests|demos)/[\w/.]+\.(?:py|js)\b", page.read_text("utf-8")
    )
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(links(ROOT / "README.md"))
    assert {f"docs/{page.name}" for page in DOCS} <= linked


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = (ROOT / "zensical.toml").read_text("utf-8")
    tomllib.loads(navigation)
    assert [page.name for page in DOCS if f'"docs/{page.name}"' not in navigation] == []


@pytest.mark.parametrize("name", [one for one in perception.__all__ if one != "__version__"])
def test_the_reference_has_every_public_name(name: str) -> None:
    parts = dict(DIRECTIVE.findall((ROOT / "docs" / "api.md").read_text("utf-8")))
    home = getattr(perception, name).__module__
    listed = parts.get(home, "nothing")
    assert f"{home}.{name}" in parts or not listed or name in listed.split(", ")


def test_slugs() -> None:
    assert slug("Where weights lie, and that they are right") == (
        "where-weights-lie-and-that-they-are-right"
    )
    assert slug("`load` and `save_all`: both") == "load-and-save_all-both"
