"""The SQL on the page about the catalog runs."""

from catalog.store import Catalog
from tests.docs.pages import ROOT, blocks

ELSEWHERE = ("INSTALL", "-- longest")
"""First words of blocks that need a network or a parameter."""


def test_the_examples_on_the_page_run(catalog: Catalog) -> None:
    texts = [block.text for block in blocks(ROOT / "docs/catalog.md") if block.words == "sql"]
    statements = [one for text in texts if not text.startswith(ELSEWHERE) for one in text.split(";") if one.strip()]
    assert len(statements) > 2
    assert all(catalog.select(one).columns for one in statements)
