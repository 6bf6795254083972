"""The shortest entry with given levels, and the batches that a search is expected to ask for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.search.batches import forecast_batches
from mlprune.capabilities.search.from_recipe import search_spec
from mlprune.capabilities.search.spec import SearchSpec, level_keys, trial_entry, with_schedule
from mlprune.capabilities.search.strategy.method import ItemBudget, VariantBudget
from mlprune.capabilities.search.strategy.methods.halving import HalvingParameters
from mlprune.capabilities.search.strategy.space import Point
from mlprune.errors import RecipeError
from mlprune.json_values import JsonValue
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.variants import VariantConfig
from tests.mlprune.capabilities.search.test_from_recipe import opened, spec_of
from tests.search_recipes import BASE, search_recipe

Q, UP = "self_attn.q_proj", "fc1"


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((0.5, 0.5, 0.5, 0.5), {"sparsity": 0.5}),
        ((0.3, 0.3, 0.7, 0.7), {"sparsity": 0.6, "schedule": {"blocks": {"0": 0.3, "1": 0.7}}}),
        ((0.3, 0.3, 0.6, 0.6), {"sparsity": 0.6, "schedule": {"blocks": {"0": 0.3}}}),
        ((0.3, 0.7, 0.3, 0.7), {"sparsity": 0.6, "schedule": {"layers": {Q: 0.3, UP: 0.7}}}),
        (
            (0.3, 0.7, 0.6, 0.6),
            {"sparsity": 0.6, "schedule": {"block_layers": {f"0.{Q}": 0.3, f"0.{UP}": 0.7}}},
        ),
    ],
)
def test_the_form_depends_on_the_levels_alone(levels: tuple[float, ...], expected: dict[str, JsonValue]) -> None:
    layers = [(block, layer) for block in (0, 1) for layer in (Q, UP)]
    assert level_keys(dict(zip(layers, levels, strict=True)), sparsity=0.6) == expected


@pytest.mark.parametrize(
    ("levels", "point", "by_hand"),
    [
        ({"total": 0.5}, (1, 1, 1), {"sparsity": 0.5}),
        ({"total": 0.5}, (0, 1, 2), {"sparsity": 0.5, "schedule": {"blocks": {0: 0.25, 2: 0.75}}}),
        ({}, (0, 0, 1), {"sparsity": 0.333333, "schedule": {"blocks": {0: 0.25, 1: 0.25, 2: 0.5}}}),
        ({}, (2, 2, 2), {"sparsity": 0.75}),
    ],
)
def test_a_point_is_the_variant_of_the_same_entry(
    tiny_inputs: Path, levels: dict[str, Any], point: Point, by_hand: dict[str, Any]
) -> None:
    recipe = parse_recipe(search_recipe(levels={"values": [0.25, 0.5, 0.75], **levels}), folder=tiny_inputs)
    common = opened(recipe)
    spec = search_spec(common, recipe.searches[0])
    entries = [trial_entry(spec, point), VariantConfig.model_validate(BASE | by_hand)]
    ids = [list(common.derived((entry,), ())[1]) for entry in entries]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2


def test_searches_over_blocks_and_over_single_layers_share_trials(tiny_inputs: Path) -> None:
    values = [0.25, 0.5, 0.75]
    blocks = spec_of(tiny_inputs, levels={"per": "block", "values": values})
    single = spec_of(tiny_inputs, levels={"per": "block_layer", "values": values})
    assert single.units is not None
    of_blocks = (0, 2, 1)
    of_layers = tuple(of_blocks[block] for block, _ in single.units.layers)
    assert trial_entry(single, of_layers) == trial_entry(blocks, of_blocks)
    entry = trial_entry(single, (1, *of_layers[1:]))
    assert dict(entry.schedule.block_layers) == {
        f"{block}.{layer}": values[level]
        for (block, layer), level in zip(single.units.layers, (1, *of_layers[1:]), strict=True)
        if values[level] != entry.sparsity
    }


def test_axes_set_keys_and_sections(tiny_inputs: Path) -> None:
    base = {**BASE, "schedule": "owl"}
    spec = spec_of(tiny_inputs, base=base, levels=None, space={"sparsity": [0.5], "schedule.spread": [0.1, 0.2]})
    entry = trial_entry(spec, (0, 1), name="winner")
    assert (entry.name, entry.sparsity, entry.schedule.kind) == ("winner", 0.5, "owl")
    assert vars(entry.schedule.method_parameters)["spread"] == 0.2


def test_the_sparsity_of_a_point_is_compared_under_other_schedules(tiny_inputs: Path) -> None:
    spec = spec_of(tiny_inputs)
    for kind in ("uniform", "owl", "dlp", "alpha_pruning"):
        entry = with_schedule(spec, (0, 1, 2), kind, name="rival")
        assert (entry.name, entry.schedule.kind, entry.sparsity) == ("rival", kind, 0.5)


def test_a_schedule_that_a_score_cannot_have_is_refused(tiny_inputs: Path) -> None:
    spec = spec_of(tiny_inputs, base={"score": "magnitude"}, compare=["uniform"])
    for kind in ("owl", "dlp"):
        with pytest.raises(RecipeError):
            with_schedule(spec, (1, 1, 1), kind)
    assert with_schedule(spec, (1, 1, 1), "alpha_pruning").schedule.kind == "alpha_pruning"


@pytest.fixture(scope="module")
def spec(tiny_inputs: Path) -> SearchSpec:
    """A random search over 27 points."""
    return spec_of(tiny_inputs, levels={"values": [0.25, 0.5, 0.75]})


def test_a_method_without_rungs_asks_for_full_batches_until_its_budget_or_space_ends(spec: SearchSpec) -> None:
    def sizes(changed: SearchSpec) -> list[int]:
        return [batch.n_trials for batch in forecast_batches(changed)]

    assert sizes(replace(spec, budget=VariantBudget(18))) == [8, 8, 2]
    assert sizes(replace(spec, budget=VariantBudget(16))) == [8, 8]
    assert sizes(replace(spec, budget=VariantBudget(99))) == [8, 8, 8, 3]
    assert sizes(replace(spec, budget=None, method="exhaustive", batch=20)) == [20, 7]
    assert sizes(replace(spec, budget=ItemBudget(3 * spec.n_scored(None) + 1))) == [3]


def test_halving_asks_for_a_quarter_at_every_rung(spec: SearchSpec) -> None:
    parameters = HalvingParameters(eta=4)
    halving = replace(
        spec, method="halving", method_parameters=parameters, rungs=(2, 4, None), budget=VariantBudget(16)
    )
    assert forecast_batches(halving) == ((0, 16), (1, 4), (2, 1))
