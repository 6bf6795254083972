"""Baselines in the catalog: beside the dense model, never in its place, and never among the pruned variants."""

from collections.abc import Iterator
from typing import Any

import pytest

from catalog.queries import ask
from catalog.store import Catalog
from mlprune.numeric.significance import holm
from tests.tiny_recipes import FinishedRun


@pytest.fixture(scope="module")
def catalog(baseline_run: FinishedRun) -> Iterator[Catalog]:
    with Catalog.in_memory(baseline_run.store) as found:
        found.fold()
        yield found


def answers(catalog: Catalog, question: str) -> list[dict[str, Any]]:
    return ask(catalog, question, ()).as_dicts()


def test_a_pruned_model_stands_beside_a_smaller_dense_one_item_by_item(
    catalog: Catalog, baseline_run: FinishedRun
) -> None:
    found = answers(catalog, "compared_with_baselines")
    rows = [row for row in found if row["baseline_base_model"] == "small"]
    (pruned,) = baseline_run.named("m")
    assert {(row["variant_id"], row["language"]) for row in rows} == {(pruned.id, one) for one in ("en", "fr", "sw")}
    for row in rows:
        assert row["base_model"] == "model"
        assert row["difference"] == pytest.approx(row["value"] - row["baseline_value"])
    dense = next(iter(baseline_run.plan.variants))
    small = [row for row in found if row["base_model"] == "small"]
    assert {row["baseline_id"] for row in small} == {dense}
    adjusted = holm([row["p_value"] for row in found])
    assert [row["p_holm"] for row in found] == pytest.approx(adjusted)
    assert {row["n_family"] for row in found} == {len(found)}


def test_dense_is_the_dense_variant_of_the_same_model(catalog: Catalog, baseline_run: FinishedRun) -> None:
    (small,) = baseline_run.named("small")
    dense = next(iter(baseline_run.plan.variants))
    gains = answers(catalog, "SELECT variant_id, baseline_evaluation_id FROM gain_over_dense")
    assert small.id not in {row["variant_id"] for row in gains}
    of_dense = answers(catalog, f"SELECT evaluation_id FROM evaluations WHERE variant_id = '{dense}'")
    assert {row["baseline_evaluation_id"] for row in gains} <= {row["evaluation_id"] for row in of_dense}
    sides = answers(catalog, "SELECT variant_id, dense_value - value AS gap FROM measured WHERE is_dense")
    assert {row["variant_id"] for row in sides} == {dense, small.id}
    assert {row["gap"] for row in sides} == {0}


def test_a_model_that_is_a_baseline_has_its_own_gap_to_english(catalog: Catalog, baseline_run: FinishedRun) -> None:
    (small,) = baseline_run.named("small")
    gaps = answers(catalog, f"SELECT language, gap_change FROM language_gap WHERE variant_id = '{small.id}'")
    assert {row["language"] for row in gaps} == {"fr", "sw"}
    assert {row["gap_change"] for row in gaps} == {0}
