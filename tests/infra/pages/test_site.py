"""Generated pages and answers on pages are up to date with the code and the frozen stores."""

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.pages.page import COMMAND
from infra.pages.site import DOCS, PAGES, WITH_ANSWERS, wanted_pages


@pytest.fixture(scope="module")
def wanted(write_comments: Callable[..., None]) -> dict[Path, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("catalog.ingest.fold._write_comments", write_comments)
        return wanted_pages()


@pytest.mark.parametrize("name", [*PAGES, *WITH_ANSWERS])
def test_a_page_is_current(wanted: dict[Path, str], name: str) -> None:
    page = DOCS / name
    if page.read_text(encoding="utf-8") != wanted[page]:
        pytest.fail(f"docs/{name} is not current: run `{COMMAND}` (python -m infra.pages) and commit what it writes")
