"""The queries about smaller vocabularies, compared with their definitions as plain arithmetic."""

import math
from typing import Any

import pytest

from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.method_data import add_vocabulary
from tests.catalog.query_answers import answers
from tests.catalog_data import evaluation_of, write_rows

pytestmark = pytest.mark.thorough("fills and folds catalogs of its own")


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def test_costs_and_shares_are_those_of_their_definitions(store: Store) -> None:
    base = write_rows(store, "base_models", parameters={}, rows={"base_models": [{"base_model_id": "@id"}]})
    expected = add_vocabulary(store, base)
    with Catalog.in_memory(store) as catalog:
        catalog.fold()
        rows = answers(catalog, "vocabulary_cost")
        only = answers(catalog, "vocabulary_cost", "language=sw")
    assert [one["language"] for one in rows] == ["fr", "sw"], "kept languages come first"
    assert only == rows[1:]
    for got, source in zip(rows, expected, strict=True):
        assert got["removed_weights"] == pytest.approx(0.48)
        assert got["tokens_per_word_dense"] == pytest.approx(25 / 20)
        assert got["tokens_per_word"] == pytest.approx(source["n_tokens"] / 20)
        assert got["partial_share"] == pytest.approx(source["n_partial"] / source["n_tokens"])
        assert got["changed_lines"] == source["n_changed_lines"] / 4
        assert got["perplexity_dense"] == pytest.approx(math.exp(0.5))
        assert got["perplexity_trimmed"] == pytest.approx(math.exp(-source["log_prob_trimmed"] / 100))
        assert got["cost"] == pytest.approx(math.exp((-50.0 - source["log_prob_cost"]) / 100) - 1)
        assert got["cost_low"] <= got["cost"] <= got["cost_high"]
        assert got["n_longer"] == source["n_longer_lines"]
    assert rows[0]["perplexity_masked"] == pytest.approx(math.exp(0.45))
    assert rows[1]["perplexity_masked"] is None


def compare(store: Store, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    row = {key: ours[key] for key in ("variant_id", "evaluation_id", "task", "language", "split", "metric")}
    row |= {
        "scoring_rule": "mean",
        "baseline_id": theirs["variant_id"],
        "baseline_evaluation_id": theirs["evaluation_id"],
    }
    row |= {"difference": ours["value"] - theirs["value"], "ci_low": -0.3, "ci_high": 0.1, "p_value": 0.2}
    parents = {"evaluations": [ours["evaluation_id"]], "baseline_evaluations": [theirs["evaluation_id"]]}
    rows = {"comparison_results": [{"comparison_id": "@id", "profile": "corrected", "test": "tango", **row}]}
    write_rows(store, "comparisons", parameters={}, parents=parents, rows=rows)


@pytest.mark.parametrize(("has_costs", "is_kept"), [(True, (True, False, False)), (False, (None, None, None))])
def test_accuracy_is_that_of_the_evaluations_and_their_comparison(
    store: Store, *, has_costs: bool, is_kept: tuple[bool | None, ...]
) -> None:
    base = write_rows(store, "base_models", parameters={}, rows={"base_models": [{"base_model_id": "@id"}]})
    row = {"variant_id": "@id", "base_model_id": base, "sparsity": 0.0, "achieved_sparsity": 0.0}
    dense = write_rows(
        store,
        "variants",
        parameters={"sparsity": 0},
        parents={"base_model": base},
        rows={"variants": [{**row, "weights_changed": False}]},
    )
    variant = add_vocabulary(store, base, has_costs=has_costs)[0]["variant_id"]
    changes = {"fr": (0.5, 0.45), "sw": (0.4, 0.2), "hi": (0.3, 0.1)}
    for language, (before, after) in changes.items():
        theirs, ours = (
            evaluation_of(store, one, task="facts", language=language, split="test", values={"accuracy": value})[0]
            for one, value in ((dense, before), (variant, after))
        )
        compare(store, ours, theirs)
    with Catalog.in_memory(store) as catalog:
        catalog.fold()
        rows = answers(catalog, "vocabulary_cost")
        only = answers(catalog, "vocabulary_cost", "language=sw")
        assert {row["difference"] for row in answers(catalog, "vocabulary_cost", "task=xnli")} == (
            {None} if has_costs else set()
        )
    assert [(one["language"], one["is_kept"]) for one in rows] == list(zip(("fr", "hi", "sw"), is_kept, strict=True))
    assert only == rows[2:]
    for got in rows:
        before, after = changes[got["language"]]
        assert (got["dense_value"], got["value"]) == (before, after)
        assert got["difference"] == pytest.approx(after - before)
        assert (got["ci_low"], got["ci_high"], got["p_value"]) == (-0.3, 0.1, 0.2)
        assert got["removed_weights"] == pytest.approx(0.48)
        assert got["n_tokens"] == 40
