"""Captions name what is shown, how many items, the choice and the test."""

from dataclasses import replace

from catalog.store import Catalog
from catalog.tables.caption import interval_caption, value_caption
from catalog.tables.spec import RANK_CONSISTENCY
from catalog.tables.table import Table, build_table
from tests.catalog.table_specs import FACTS


def test_a_caption_says_what_is_needed_to_read_the_table(facts: Table) -> None:
    caption = value_caption(facts)
    for words in (
        "accuracy in percent, split test, n = 40 per column",
        "best of up to 6 variants, chosen on split dev by the mean accuracy over es, fr, sw (n = 40 per language)",
        "macro: the mean over es, fr, sw",
        "Tango's score test, p < 0.05 after Holm's correction over a family of 156 tests",
        "The macro column is not tested",
    ):
        assert words in caption
    assert "LRP2" not in caption
    assert "95 % intervals of accuracy in percent, split test, n = 40" in interval_caption(facts)


def test_the_test_of_rank_consistency_is_named(catalog: Catalog) -> None:
    table = build_table(catalog, replace(FACTS, metric=RANK_CONSISTENCY))
    assert table is not None
    assert "sign flips of clusters of items, p < 0.05 after Holm's correction" in value_caption(table)
    assert "95 % intervals of RankC with English" in interval_caption(table)


def test_missing_tests_are_said(facts: Table) -> None:
    assert "Differences are not tested here." in value_caption(replace(facts, spec=replace(FACTS, marks=False)))


def test_the_direction_and_the_test_follow_the_metric(catalog: Catalog) -> None:
    table = build_table(catalog, replace(FACTS, task="perplexity", metric="perplexity", macro="none"))
    assert table is not None
    caption = value_caption(table)
    assert "Bold: the lowest value" in caption
    assert "sign flips of clusters of items" in caption
    assert "percent" not in caption
    assert "macro" not in caption
