"""What README and docs point to is there: pages, headings, files of the tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Files and folders of the tree, as they stand between backticks.
TREE = re.compile(
    r"`((?:\.ci|benchmarks|converters|docs|edgevision|examples|tests)/[\w./-]*[\w/])`"
)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, no punctuation, blanks are dashes."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_pages_were_found() -> None:
    assert len(PAGES) > 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page)):
        name, _, heading = link.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.exists(), link
        assert ROOT in place.parents, link
        assert not heading or heading in anchors(place), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    names = TREE.findall(prose(page))
    missing = [name for name in names if "NAME" not in name and not (ROOT / name).exists()]
    assert not missing
