"""Metrics of tables."""

from catalog.tables.spec import RANK_CONSISTENCY, TableSpec, is_fraction
from mlprune.vocabulary import is_higher_better


def test_directions_and_units_of_metrics() -> None:
    metrics = (RANK_CONSISTENCY, "bleu", "perplexity")
    assert [is_higher_better(metric) for metric in metrics] == [True, True, False]
    assert [is_fraction(metric) for metric in metrics] == [True, True, False]


def test_variants_are_chosen_by_the_metric_of_the_table_or_by_accuracy() -> None:
    assert TableSpec("t", "T", "x", "bleu", ()).chosen_by == "bleu"
    assert TableSpec("t", "T", "x", RANK_CONSISTENCY, ()).chosen_by == "accuracy"
    assert TableSpec("t", "T", "x", RANK_CONSISTENCY, (), choose_by="f1_macro").chosen_by == "f1_macro"
