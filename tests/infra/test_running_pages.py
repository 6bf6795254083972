"""The pages on how to run: links lead somewhere, and files that they name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "running").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_of_the_repository_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r"\b(?:infra|tests|ray_jobs)/[\w/.-]*\w", page.read_text(encoding="utf-8"))
    assert named or page.stem == "single-machine"
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing
