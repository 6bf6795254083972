"""The row of a method is what the catalog has: values, differences, who pays, bytes and origins."""

from collections.abc import Iterator
from math import fsum

import pytest

from catalog.capabilities.results.method_row import method_row, store_hash
from catalog.store import Catalog
from mlprune.errors import BadInputError
from tests.refusals import refused
from tests.tiny_recipes import FinishedRun

FACTS = {"task": "facts", "metric": "accuracy", "split": "test"}


@pytest.fixture(scope="module")
def catalog(tiny_run: FinishedRun) -> Iterator[Catalog]:
    with Catalog.in_memory(tiny_run.store) as opened:
        yield opened


@pytest.fixture(scope="module")
def variant_ids(catalog: Catalog) -> list[str]:
    """All draws of a masked method."""
    found = catalog.query(
        "SELECT variant_ids FROM internal.method_differences WHERE task = 'facts' AND metric = 'accuracy' "
        "AND group_kind = 'language' AND score = 'wanda' ORDER BY len(variant_ids) DESC, variant_ids LIMIT 1"
    )
    return list(found[0]["variant_ids"])


def test_a_row_has_the_numbers_of_the_catalog(catalog: Catalog, variant_ids: list[str]) -> None:
    row = method_row(catalog, variant_ids[:1], wanted=FACTS)
    assert row.variant_ids == tuple(variant_ids)
    for result in row.languages:
        draws = catalog.query(
            "SELECT * FROM internal.against_dense WHERE list_contains($ids, variant_id) AND task = 'facts' "
            "AND metric = 'accuracy' AND group_kind = 'language' AND split = 'test' AND language = $language",
            {"ids": variant_ids, "language": result.language},
        )
        assert len(draws) == row.n_draws
        assert result.dense == pytest.approx(draws[0]["dense_value"])
        assert result.value == pytest.approx(fsum(draw["value"] for draw in draws) / len(draws))
        assert result.n == draws[0]["n_items"]
        assert result.pays == all(draw["p_corrected"] <= 0.05 and draw["outcome"] == "worse" for draw in draws)
        assert result.p_corrected == pytest.approx(max(draw["p_corrected"] for draw in draws))


def test_a_row_has_the_weights_of_the_method_and_what_identifies_it(catalog: Catalog, variant_ids: list[str]) -> None:
    row = method_row(catalog, variant_ids, wanted=FACTS)
    removed = catalog.query(
        "SELECT sum(n_removed)::BIGINT AS n FROM variant_layers WHERE list_contains($ids, variant_id) "
        "GROUP BY variant_id",
        {"ids": variant_ids},
    )
    (model,) = catalog.query("FROM base_models")
    assert (row.n_removed, row.n_prunable) == (min(each["n"] for each in removed), model["n_prunable"])
    assert (row.bits, row.bytes) == (32, 4 * (row.n_prunable - row.n_removed))
    assert row.model_id == model["base_model_id"]
    assert row.store == store_hash(catalog.store)
    assert (row.code, row.recipe, row.recipe_sha256) == ((), None, None)  # no run wrote files into this store


def test_what_is_not_one_method_in_one_evaluation_is_refused(catalog: Catalog, variant_ids: list[str]) -> None:
    dense = [each["variant_id"] for each in catalog.query("FROM described_variants WHERE is_dense")]
    every = [each["variant_id"] for each in catalog.query("FROM described_variants")]
    for ids in (dense, every):
        with refused(BadInputError):
            method_row(catalog, ids, wanted=FACTS)
    with refused(BadInputError) as several:
        method_row(catalog, variant_ids, wanted={})
    assert "next" in several.value.context
    with refused(BadInputError, got={"split": "x"}):
        method_row(catalog, variant_ids, wanted={"split": "x"})
