"""Links on all pages lead to existing files and headings."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, links, pages

PAGES = pages()
_NAMED = re.compile(r"(?<![\w/.{-])(?:infra|tests|ray_jobs|mlprune|catalog)/[\w/.*-]+")
"""Paths that start with a folder of the repository."""


def test_there_are_pages_with_links() -> None:
    assert ROOT / "README.md" in PAGES
    assert len(links(ROOT / "docs" / "README.md")) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_on_a_page_lead_to_files_and_headings(page: Path) -> None:
    wrong = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = page.parent / path if path else page
        exists = target.exists() and (not anchor or (target.suffix == ".md" and anchor in anchors(target)))
        wrong += [] if exists else [link]
    assert not wrong


def test_a_repeated_heading_has_two_anchors(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b` & [c](d.md)\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n")
    assert anchors(page) == {"a-b--c", "twice", "twice-1"}


def test_links_in_code_are_ignored(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[yes](a.md#b) `[no](c.md)` [`code`](d.md)\n\n```\n[no](e.md)\n```\n")
    assert links(page) == ["a.md#b", "d.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_repository_files_named_on_a_page_exist(page: Path) -> None:
    named = _NAMED.findall(page.read_text(encoding="utf-8"))
    missing = [name for name in named if not any(ROOT.glob(name.rstrip("/.")))]
    assert not missing


def test_every_page_of_the_documentation_is_listed_on_the_entry_page() -> None:
    entry = ROOT / "docs" / "README.md"
    listed = {(entry.parent / link.partition("#")[0]).resolve() for link in links(entry)}
    assert [page for page in sorted((ROOT / "docs").rglob("*.md")) if page != entry and page not in listed] == []
