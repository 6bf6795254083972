"""Baselines in the catalog: they are neither the dense model nor pruned variants."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.check import check
from catalog.store import Catalog
from tests.catalog.families import corrected
from tests.catalog.query_answers import answers
from tests.tiny_recipes import FinishedRun, copy_of

INTERVENTIONS = ("lrp2", "fixed", "translate")


@pytest.fixture(scope="module")
def catalog(baseline_run: FinishedRun) -> Iterator[Catalog]:
    with Catalog.in_memory(baseline_run.store) as found:
        found.fold()
        yield found


def test_a_pruned_model_is_compared_item_by_item_with_a_smaller_dense_one(
    catalog: Catalog, baseline_run: FinishedRun
) -> None:
    found = answers(catalog, "variants_compared")
    assert {row["baseline_kind"] for row in found} == {"other model", "run-time method"}
    rows = [row for row in found if row["baseline_base_model"] == "small" and row["scoring_rule"] == "mean"]
    (pruned,) = baseline_run.named("m")
    assert {(row["variant_id"], row["language"]) for row in rows} == {(pruned.id, one) for one in ("en", "fr", "sw")}
    for row in rows:
        assert row["base_model"] == "model"
        assert row["difference"] == pytest.approx(row["value"] - row["baseline_value"])
    dense = next(iter(baseline_run.plan.variants))
    small = [row for row in found if row["base_model"] == "small"]
    assert {row["baseline_id"] for row in small} == {dense}
    sql = "SELECT p_value FROM internal.comparisons WHERE test_family = $family"
    for row in found:
        family = [other["p_value"] for other in catalog.query(sql, {"family": row["test_family"]})]
        expected = corrected(family)[family.index(row["p_value"])]
        assert (row["n_family"], row["p_corrected"]) == (len(family), pytest.approx(expected.p_corrected))


def test_dense_is_the_dense_variant_of_the_same_model(catalog: Catalog, baseline_run: FinishedRun) -> None:
    (small,) = baseline_run.named("small")
    dense = next(iter(baseline_run.plan.variants))
    gains = answers(catalog, "FROM internal.against_dense WHERE group_kind = 'language'")
    assert small.id not in {row["variant_id"] for row in gains}
    of_dense = answers(catalog, f"SELECT evaluation_id FROM evaluations WHERE variant_id = '{dense}'")
    assert {row["baseline_evaluation_id"] for row in gains} <= {row["evaluation_id"] for row in of_dense}
    sides = answers(catalog, "SELECT variant_id, dense_value - value AS gap FROM measured WHERE is_dense")
    assert {row["variant_id"] for row in sides} == {dense, small.id}
    assert {row["gap"] for row in sides} == {0}


def test_a_baseline_model_has_a_gap_to_english(catalog: Catalog, baseline_run: FinishedRun) -> None:
    (small,) = baseline_run.named("small")
    gaps = answers(
        catalog, f"SELECT language, minus_english_change FROM internal.language_gap WHERE variant_id = '{small.id}'"
    )
    assert {row["language"] for row in gaps} == {"fr", "sw"}
    assert {row["minus_english_change"] for row in gaps} == {0}


def test_a_run_time_baseline_is_neither_a_dense_nor_a_pruned_variant(
    catalog: Catalog, baseline_run: FinishedRun
) -> None:
    described = {row["variant_id"]: row for row in answers(catalog, "SELECT * FROM described_variants")}
    found = {one.id: described[one.id] for name in INTERVENTIONS for one in baseline_run.named(name)}
    assert len(found) == len(INTERVENTIONS)
    for row in found.values():
        assert (row["sparsity"], row["achieved_sparsity"], row["is_dense"]) == (0, 0, False)
        assert row["intervention"] is not None
    assert len({row["settings"] for row in found.values()}) == len(found)
    for question in ("SELECT variant_id FROM best_variant", "best_by_language"):
        assert not {row["variant_id"] for row in answers(catalog, question)} & set(found)
    curves = answers(catalog, "SELECT DISTINCT score FROM internal.sparsity_curve")
    assert curves == [{"score": "magnitude"}]


def test_a_run_time_baseline_has_a_difference_to_dense_and_a_gap_to_english(
    catalog: Catalog, baseline_run: FinishedRun
) -> None:
    for name in INTERVENTIONS:
        (own,) = baseline_run.named(name)
        where = f"variant_id = '{own.id}' AND metric = 'accuracy' AND group_kind = 'language'"
        gains = answers(catalog, f"SELECT * FROM internal.against_dense WHERE {where}")
        assert {row["language"] for row in gains} == {"en", "fr", "sw"}
        for row in gains:
            assert row["difference"] == pytest.approx(row["value"] - row["dense_value"])
            if row["language"] == "en":
                assert (row["difference"], row["p_value"]) == (0, 1)
        gaps = answers(
            catalog, f"SELECT * FROM internal.language_gap WHERE variant_id = '{own.id}' AND metric = 'accuracy'"
        )
        assert {row["language"] for row in gaps} == {"fr", "sw"}


def test_a_pruned_variant_is_compared_with_lrp2(catalog: Catalog, baseline_run: FinishedRun) -> None:
    rows = [row for row in answers(catalog, "variants_compared") if row["baseline_intervention"] == "lrp2"]
    (pruned,), (lrp2,), (translate,) = (baseline_run.named(name) for name in ("m", "lrp2", "translate"))
    pairs = {(row["variant_id"], row["baseline_id"]) for row in rows}
    assert pairs == {(pruned.id, lrp2.id), (translate.id, lrp2.id)}


def test_lrp2_chooses_the_pair_of_blocks_with_the_best_value_on_dev(catalog: Catalog) -> None:
    trials = catalog.query("FROM lrp2_trials JOIN record_parents AS p ON p.parent_id = trial_id AND p.role = 'trials'")
    chosen = catalog.query("SELECT choice_id, first_block, second_block FROM lrp2_choices")
    assert len(trials) == 3 * len(chosen) == 3 * 2 * 2
    for row in chosen:
        own = [one for one in trials if one["id"] == row["choice_id"]]
        (best,) = [one for one in own if all(one[key] == row[key] for key in ("first_block", "second_block"))]
        assert best["value"] == max(one["value"] for one in own)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_catalog_of_baselines_is_sound(baseline_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(baseline_run.store, tmp_path / "store")
    with Catalog.open(store) as catalog:
        catalog.fold()
    assert check(store) == ([], [])
