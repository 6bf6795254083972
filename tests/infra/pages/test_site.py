"""Generated pages and answers on pages are up to date with the code and the frozen stores."""

from collections.abc import Callable

import pytest

from infra.pages.page import COMMAND
from infra.pages.site import DOCS, PAGES, WITH_ANSWERS, wanted_page

CHEAP = {"quick-start.md", *PAGES} - {"reference/cookbook.md"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in CHEAP else pytest.mark.thorough("fills several stores"))
        for name in (*PAGES, *WITH_ANSWERS)
    ],
)
def test_a_page_is_current(name: str, write_comments: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.ingest.fold._write_comments", write_comments)
    if (DOCS / name).read_text(encoding="utf-8") != wanted_page(name):
        pytest.fail(f"docs/{name} is not current: run `{COMMAND}` (python -m infra.pages) and commit what it writes")
