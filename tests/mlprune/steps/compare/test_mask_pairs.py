"""Which masks are compared: all pairs of a small grid, and of a large one those that differ in one thing."""

import logging
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from mlprune.pruning.spec import Reading, ScoreSpec
from mlprune.recipe import parse_recipe
from mlprune.steps.compare.mask_pairs import overlap_pairs
from mlprune.steps.job import Identity
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.variant import VariantSpec
from tests.good_recipe import GOOD


def variant(set_id: str, *, seed: int | None = None, first: int | None = None, sparsity: float = 0.5) -> PlannedVariant:
    parameters = {"set": set_id, "seed": seed, "first": first, "sparsity": sparsity}
    spec = VariantSpec(
        Identity("variants", parameters, {}, {}),
        model=None,  # type: ignore[arg-type]  # nothing here reads a model
        sparsity=sparsity,
        choice=ScoreSpec("wanda", seed=seed),
        propagation="dense",
        reading=Reading(first=first),
        set_ids=(set_id,),
    )
    return PlannedVariant(spec)


GRID = [variant(set_id, first=first) for set_id in ("a", "b", "c") for first in (None, 4, 8)]


def settings(pair: tuple[str, str]) -> list[tuple[Any, Any]]:
    known = {one.id: one.spec for one in GRID}
    return [(known[one].set_ids, known[one].reading) for one in pair]


def test_all_pairs_of_a_small_grid_are_compared() -> None:
    ids = sorted(one.id for one in GRID)
    assert sorted(overlap_pairs(GRID, most=36)) == sorted(combinations(ids, 2))


def test_of_a_large_grid_pairs_are_compared_that_differ_in_one_choice(caplog: pytest.LogCaptureFixture) -> None:
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


def test_no_pairs_of_different_sparsities_and_none_where_none_are_wanted(caplog: pytest.LogCaptureFixture) -> None:
    assert overlap_pairs([variant("a"), variant("a", sparsity=0.3)], most=10) == []
    assert overlap_pairs(GRID, most=0) == []
    assert caplog.text == ""


def test_the_order_of_the_variants_does_not_matter() -> None:
    assert overlap_pairs(GRID[::-1], most=9) == overlap_pairs(GRID, most=9)


def test_a_recipe_says_how_many(tmp_path: Path) -> None:
    recipe = parse_recipe({**GOOD, "analyses": {"mask_overlaps": 5}}, folder=tmp_path)
    assert recipe.analyses.mask_overlaps == 5
