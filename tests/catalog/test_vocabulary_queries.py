"""The query about smaller vocabularies, compared with its definitions as plain arithmetic."""

import math

import pytest

from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.method_data import add_vocabulary
from tests.catalog.query_answers import answers
from tests.catalog_data import write_rows


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
    assert rows[0]["perplexity_masked"] == pytest.approx(math.exp(0.45))
    assert rows[1]["perplexity_masked"] is None
