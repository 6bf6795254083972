"""Pairs of masks to compare: all in a small grid, and in a large one those that differ in one choice."""

import logging
import re
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from catalog.sql_files import list_queries
from mlprune.errors import RecipeError
from mlprune.methods import RandomParameters
from mlprune.pruning.spec import ScoreSpec, StatisticsSelection
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.compare.overlaps import QUERIES, MaskOverlapJob, overlap_pairs
from mlprune.steps.job import Identity
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.scored_variant import Calibration, ScoredVariant
from tests.tiny_recipes import FinishedRun
from tests.valid_recipe import GOOD


def variant(set_id: str, *, seed: int | None = None, first: int | None = None, sparsity: float = 0.5) -> PlannedVariant:
    parameters = {"set": set_id, "seed": seed, "first": first, "sparsity": sparsity}
    random = ScoreSpec("random", score_parameters=RandomParameters(seed or 0))
    spec = ScoredVariant(
        Identity("variants", parameters, {}, {}),
        model=None,  # type: ignore[arg-type]  # nothing here reads a model
        sparsity=sparsity,
        score=random if seed is not None else ScoreSpec("wanda"),
        calibration=Calibration("dense", StatisticsSelection(n_demonstrations=first), (set_id,)),
    )
    return PlannedVariant(spec)


GRID = [variant(set_id, first=first) for set_id in ("a", "b", "c") for first in (None, 4, 8)]


def settings(pair: tuple[str, str]) -> list[tuple[Any, Any]]:
    specs = {planned.id: planned.spec for planned in GRID}
    return [(specs[variant_id].set_ids, specs[variant_id].calibration.selection) for variant_id in pair]


def test_all_pairs_of_a_small_grid_are_compared() -> None:
    ids = sorted(planned.id for planned in GRID)
    assert sorted(overlap_pairs(GRID, most=36)) == sorted(combinations(ids, 2))


def test_in_a_large_grid_only_pairs_that_differ_in_one_choice_are_compared(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        pairs = overlap_pairs(GRID, most=35)
    assert len(pairs) == len(set(pairs)) == 18
    assert all(first < second for first, second in pairs)
    for pair in pairs:
        (set_a, reading_a), (set_b, reading_b) = settings(pair)
        assert (set_a == set_b) != (reading_a == reading_b)
    assert "masks of 18 of 36 pairs" in caplog.text


def test_pairs_of_different_sets_come_first() -> None:
    pairs = overlap_pairs(GRID, most=9)
    assert len(pairs) == 9
    assert all(first[0] != second[0] for first, second in map(settings, pairs))


def test_pairs_of_different_sparsities_are_not_compared(caplog: pytest.LogCaptureFixture) -> None:
    assert overlap_pairs([variant("a"), variant("a", sparsity=0.3)], most=0) == []
    assert caplog.text == ""


@pytest.mark.parametrize(("most", "n_left_out"), [(0, 36), (9, 27), (35, 18)])
def test_a_warning_counts_the_pairs_left_out_and_names_the_queries_without_them(
    most: int, n_left_out: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        pairs = overlap_pairs(GRID, most=most)
    assert len(pairs) == 36 - n_left_out
    (record,) = caplog.records
    assert f"{n_left_out} pairs" in record.message
    assert all(query in record.message for query in ("profile_differences", "mask_overlap_by_layer"))


def test_all_queries_about_compared_masks_are_named() -> None:
    texts = {query.name: query.sql for query in list_queries()}
    assert {name for name, sql in texts.items() if re.search(r"\bmask_(overlaps|pairs)\b", sql)} == set(QUERIES)


def test_the_order_of_the_variants_does_not_matter() -> None:
    assert overlap_pairs(GRID[::-1], most=9) == overlap_pairs(GRID, most=9)


def test_a_recipe_limits_the_number_of_pairs(tmp_path: Path) -> None:
    recipe = parse_recipe({**GOOD, "analyses": {"mask_overlaps": 5}}, folder=tmp_path)
    assert recipe.analyses.mask_overlaps == 5


def named(*names: str) -> list[PlannedVariant]:
    """The variants of the grid, of which those of each set belong to an entry."""
    entries = dict(zip(("a", "b", "c"), names, strict=True))
    return [replace(one, entries=(SimpleNamespace(name=entries[one.spec.set_ids[0]]),)) for one in GRID]


def test_a_recipe_may_ask_for_pairs_that_differ_in_one_choice_whatever_their_number() -> None:
    assert overlap_pairs(GRID, most=10_000, choice="one_difference") == overlap_pairs(GRID, most=35)
    assert overlap_pairs(GRID, most=9, choice="one_difference") == overlap_pairs(GRID, most=9)


def test_a_recipe_may_name_the_entries_whose_variants_are_compared(caplog: pytest.LogCaptureFixture) -> None:
    variants = named("x", "y", "z")
    pairs = overlap_pairs(variants, most=9, choice=(("y", "x"),))
    assert len(pairs) == 9
    assert {frozenset(one[0] for one in settings(pair)) for pair in pairs} == {frozenset({("a",), ("b",)})}
    assert len(overlap_pairs(variants, most=9, choice=(("x", "x"),))) == 3
    assert caplog.text == ""
    fewer = overlap_pairs(variants, most=4, choice=(("y", "x"),))
    assert sum(first[1] == second[1] for first, second in map(settings, fewer)) == 3
    assert len(fewer) == 4
    assert "masks of 4 of 9 pairs" in caplog.text


def test_named_entries_without_comparable_variants_are_refused() -> None:
    with pytest.raises(RecipeError) as error:
        overlap_pairs(named("x", "y", "z"), most=9, choice=(("x", "y"), ("x", "w")))
    assert error.value.context["got"] == ["w", "x"]


def test_unknown_names_of_pairs_and_a_single_name_are_refused() -> None:
    for pairs in ([["wanda", "wandaa"]], [["wanda"]], [], "some"):
        with pytest.raises(RecipeError) as error:
            parse_recipe({**GOOD, "analyses": {"mask_pairs": pairs}}, folder=Path())
        assert str(error.value.context["key"]).startswith("analyses.mask_pairs")
    assert parse_recipe({**GOOD, "analyses": {"mask_pairs": [["wanda", "wanda"]]}}, folder=Path())


def test_mask_overlaps_are_the_jaccard_of_removed_weights(tiny_run: FinishedRun) -> None:
    rows = tiny_run.rows("mask_overlaps")
    pairs = {(row["variant_a"], row["variant_b"]) for row in rows}
    assert len(pairs) == len([job for job in tiny_run.plan.jobs if isinstance(job, MaskOverlapJob)])
    for a, b in pairs:
        assert a < b
        masks = [tiny_run.keep_masks(variant_id) for variant_id in (a, b)]
        for row in (row for row in rows if (row["variant_a"], row["variant_b"]) == (a, b)):
            first, second = (~mask[row["block"], row["layer"]] for mask in masks)
            both, either = int((first & second).sum()), int((first | second).sum())
            assert row["jaccard"] == both / either
            assert 0 < row["jaccard"] < 1 or torch.equal(first, second)


def test_feature_overlaps_compare_top_with_bottom_both_ways(tiny_run: FinishedRun) -> None:
    rows = tiny_run.rows("feature_overlaps")
    magnitudes: dict[str, np.ndarray] = {}
    for record in tiny_run.store.records("statistics"):
        file = next(artefact for artefact in record.artefacts if artefact.path.startswith("features/"))
        table = tiny_run.store.read_table(file)
        set_id = record.rows["statistics"][0]["demonstration_set_id"]
        magnitudes[set_id] = np.array(table["magnitude"]).reshape(4, 16)
    assert {(row["set_a"], row["set_b"]) for row in rows} == set(permutations(magnitudes, 2))
    for row in rows:
        a, b = (magnitudes[row[key]][row["depth"]].tolist() for key in ("set_a", "set_b"))
        top = sorted(range(16), key=lambda index: (-a[index], index))[:5]
        bottom = sorted(range(16), key=lambda index: (b[index], index))[:5]
        assert (row["share"], row["value"]) == (0.3, len(set(top) & set(bottom)) / 5)
