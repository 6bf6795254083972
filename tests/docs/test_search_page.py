"""The table of methods on the page of searches has the methods of the registry, with their rungs and sources."""

import re

import pytest

from mlprune.search.registry import SEARCH_METHODS
from tests.docs.pages import ROOT

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in re.findall(r"^\| `(?!method).*\|$", (ROOT / "docs/search.md").read_text("utf-8"), re.MULTILINE)
]


def test_the_table_has_all_methods_in_the_order_of_the_registry() -> None:
    assert [row[0].strip("`") for row in ROWS] == list(SEARCH_METHODS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]).strip("`"))
def test_a_row_states_rungs_and_the_source_of_the_registry(row: list[str]) -> None:
    method = SEARCH_METHODS[row[0].strip("`")]
    required = {False: "no", True: "yes" if method.asks_whole_rungs else "optional"}
    assert row[2] == required[method.uses_rungs]
    identifiers = re.findall(r"\d{4}\.\d{5}|NIPS \d{4}", method.citation or "")
    assert all(identifier in row[3] for identifier in identifiers)
    assert bool(identifiers) == bool(row[3])
