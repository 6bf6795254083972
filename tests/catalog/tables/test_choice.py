"""Choice of the variant of a row."""

from typing import Any

import pytest

from catalog.tables.cells import MeasuredVariant
from catalog.tables.choice import choose_rows, placeholders
from catalog.tables.spec import RowSpec, TableSpec

SPEC = TableSpec("t", "T", "facts", "accuracy", ())


def variant(variant_id: str, sparsity: float = 0.3, **columns: Any) -> MeasuredVariant:
    row = {
        "variant_id": variant_id,
        "sparsity": sparsity,
        "score": "wanda",
        "seed": 0,
        "label": f"label of {variant_id}",
    }
    return MeasuredVariant({**row, **columns}, {})


def chosen(
    spec: TableSpec, variants: list[MeasuredVariant], dev_values: dict[str, float]
) -> list[tuple[str, str, int]]:
    row = RowSpec("row {score}", {})
    rows = choose_rows(spec, row, variants=variants, dev_values=dev_values)
    return [(choice.label, choice.variant.variant_id, choice.n_candidates) for choice in rows]


def test_the_best_on_dev_is_chosen_and_the_sparser_one_of_equals() -> None:
    variants = [variant("a", 0.1), variant("b", 0.5), variant("c", 0.3)]
    assert chosen(SPEC, variants, {"a": 0.6, "b": 0.5, "c": 0.5}) == [("row wanda", "a", 3)]
    assert chosen(SPEC, variants, {"a": 0.5, "b": 0.5, "c": 0.5}) == [("row wanda", "b", 3)]


@pytest.mark.parametrize(("metric", "expected"), [("perplexity", "a"), ("bleu", "b")])
def test_lower_is_better_where_the_metric_says_so(metric: str, expected: str) -> None:
    spec = TableSpec("t", "T", "x", metric, ())
    assert chosen(spec, [variant("a"), variant("b")], {"a": 10.0, "b": 20.0}) == [("row wanda", expected, 2)]


def test_variants_without_a_value_on_dev_are_not_candidates() -> None:
    assert chosen(SPEC, [variant("a"), variant("b"), variant("c")], {"b": 0.1, "c": 0.0}) == [("row wanda", "b", 2)]


def test_values_in_a_label_give_rows_of_their_own() -> None:
    variants = [variant("a"), variant("b", score="ria"), variant("c", score="ria")]
    assert chosen(SPEC, variants, {"c": 1.0}) == [("row wanda", "a", 1), ("row ria", "c", 1)]
    assert placeholders("{score} on {demonstration_label}") == ("score", "demonstration_label")


def test_without_values_on_dev_labels_name_the_seed_or_the_variant() -> None:
    seeds = [variant("a", seed=0), variant("b", seed=1), variant("c", 0.5)]
    assert [label for label, _, _ in chosen(SPEC, seeds, {})] == ["row wanda, seed 0", "row wanda, seed 1", "row wanda"]
    alike = [variant("a"), variant("b")]
    assert [label for label, _, _ in chosen(SPEC, alike, {})] == ["label of a", "label of b"]


def test_filters_take_one_value_or_several() -> None:
    both = variant("a", score="ria", intervention=None)
    assert both.matches({"score": ("wanda", "ria"), "intervention": (None,)})
    assert not both.matches({"score": ("wanda",)})
