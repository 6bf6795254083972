"""Plans of variants: their number, ids and labels."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.planning import build_plan
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import AUTO_BATCH_TOKENS, SMALL_MODEL_BATCH_TOKENS
from mlprune.steps.job import Job, batch_tokens_of
from mlprune.steps.variants.planned_variant import PlannedVariant
from tests.refusals import refused
from tests.tiny_recipes import tiny_recipe

WANDA = {"demonstrations": "mt", "score": "wanda", "sparsity": 0.5}
CONTRAST = {"demonstrations": "mt", "contrast": "code", "score": "contrast", "sparsity": 0.5}


def recipe_of(*variants: dict[str, Any], seeds: dict[str, list[int]] | None = None, **sections: Any) -> dict[str, Any]:
    recipe = {**tiny_recipe(), "variants": list(variants), "evaluations": [], **sections}
    for entry in recipe["demonstrations"]:
        entry["seed"] = (seeds or {}).get(entry["name"], [0])
    return recipe


def planned(folder: Path, recipe: dict[str, Any]) -> tuple[dict[str, PlannedVariant], list[Job]]:
    plan = build_plan(parse_recipe(recipe, folder=folder))
    made = [job for job in plan.jobs if job.step in ("prune", "sweep")]
    return dict(plan.variants), made


def labels(folder: Path, *variants: dict[str, Any], **options: Any) -> list[str]:
    return [one.label for one in planned(folder, recipe_of(*variants, **options))[0].values()]


def ids(folder: Path, *variants: dict[str, Any], **options: Any) -> list[str]:
    return list(planned(folder, recipe_of(*variants, **options))[0])


def test_the_dense_variant_always_exists_and_is_first(tiny_inputs: Path) -> None:
    assert labels(tiny_inputs) == ["dense"]
    result = labels(tiny_inputs, {"score": "magnitude", "sparsity": 0.5})
    assert result == ["dense", "magnitude 0.5 row"]


def test_any_sparsity_0_is_the_dense_variant(tiny_inputs: Path) -> None:
    entries = [{**WANDA, "sparsity": 0}, {"score": "random", "sparsity": 0.0, "seed": 4}, {**CONTRAST, "sparsity": 0}]
    variants, jobs = planned(tiny_inputs, recipe_of(*entries))
    (dense,) = variants.values()
    assert (dense.label, dense.spec.sparsity, len(dense.entries)) == ("dense", 0.0, 3)
    assert [[kind for kind, _ in job.makes] for job in jobs] == [["base_models", "variants"]]


def test_a_name_of_several_sets_makes_a_variant_of_each(tiny_inputs: Path) -> None:
    result = labels(tiny_inputs, {**WANDA, "propagation": ["dense", "sequential"]})
    assert result == [
        "dense",
        *(f"wanda {pair} 0.5 row {how}" for how in ("dense", "sequential") for pair in ("fr-en", "sw-en")),
    ]


def test_contrast_sets_pair_up_by_seed(tiny_inputs: Path) -> None:
    result = labels(tiny_inputs, {**CONTRAST, "propagation": "dense"}, seeds={"mt": [0, 1], "code": [1, 0]})
    pairs = [("fr-en", "code"), ("fr-en seed 1", "code seed 1"), ("sw-en", "code"), ("sw-en seed 1", "code seed 1")]
    assert result == ["dense", *(f"contrast {mt} against {code} 0.5 row dense" for mt, code in pairs)]


def test_a_seed_without_a_contrast_set_is_an_error(tiny_inputs: Path) -> None:
    with refused(RecipeError, expected="a set of seed 2", got=[0, 1]):
        planned(tiny_inputs, recipe_of(CONTRAST, seeds={"mt": [0, 2], "code": [0, 1]}))


@pytest.mark.parametrize("score", ["magnitude", "random"])
def test_scores_without_statistics_ignore_demonstrations_and_propagation(tiny_inputs: Path, score: str) -> None:
    entry = {"score": score, "sparsity": 0.5}
    others = {**entry, "demonstrations": ["mt", "mono"], "propagation": ["dense", "sequential"]}
    variants, jobs = planned(tiny_inputs, recipe_of(entry, others))
    _, result = variants.values()
    assert (result.spec.set_ids, result.spec.contrast_set_id) == ((), None)
    assert (result.spec.propagation, result.spec.calibration) == (None, None)
    assert len(result.entries) == 5
    assert {job.step for job in jobs} == {"prune"}
    assert {role for job in jobs for role, _ in job.needs} == {"mask_blocks"}


def test_only_the_random_score_has_a_seed(tiny_inputs: Path) -> None:
    assert len(ids(tiny_inputs, {"score": "random", "sparsity": 0.5, "seed": [0, 1, 2]})) == 4
    assert len(ids(tiny_inputs, {"score": "magnitude", "sparsity": 0.5, "seed": [0, 1]})) == 2


BASE = {**WANDA, "demonstrations": "mono", "propagation": "dense"}
OVER = {**BASE, "demonstrations": None, "over": ["mt", "mono"]}
RIA = {**BASE, "score": "ria"}
SPARSEGPT = {"demonstrations": "mono", "score": "sparsegpt", "sparsity": 0.5}
OWL = {**BASE, "schedule": {"kind": "owl"}}
SCHEDULED = {"blocks": 0, "layers": "fc1", "block_layers": "0.fc1"}


Pairs = list[tuple[dict[str, Any], dict[str, Any]]]
"""Entries, each with other values of some keys."""
CHANGES: Pairs = [
    (BASE, {"demonstrations": "mt"}),
    (BASE, {"sparsity": 0.4}),
    *((BASE, {"structure": structure}) for structure in ("matrix", "alpha", "2:4")),
    ({**BASE, "structure": "2:4"}, {"permute": True}),
    (BASE, {"propagation": "sequential"}),
    (BASE, {"score": "ria"}),
    (BASE, {"score": "contrast", "contrast": "code"}),
    (BASE, {"removes": "highest"}),
    (BASE, {"tokens": "last_shot"}),
    (BASE, {"samples": 2}),
    (BASE, {"resample": 0}),
    (BASE, {"profile": "paper"}),
    *((BASE, {"scope": scope}) for scope in ({"blocks": [0, 1]}, {"without_layers": ["fc1"]})),
    *((BASE, {"schedule": {kind: {key: 0.25}}}) for kind, key in SCHEDULED.items()),
    (BASE, {"schedule": "owl"}),
    ({**BASE, "resample": 0}, {"resample": 1}),
    ({**BASE, "samples": 2}, {"samples": 3}),
    ({**BASE, "schedule": {"blocks": {0: 0.25}}}, {"schedule": {"blocks": {1: 0.25}}}),
    *((OWL, {"schedule": {"kind": "owl", **change}}) for change in ({"m": 3}, {"spread": 0.1})),
    (RIA, {"power": 1.0}),
    (SPARSEGPT, {"damping": 0.1}),
    (SPARSEGPT, {"structure": "2:4"}),
    ({**OVER, "aggregate": "mean"}, {"aggregate": "max"}),
    ({**OVER, "aggregate": "mean"}, {"over": ["mono", "mt"]}),
    *(({**OVER, "aggregate": "mean", "shares": [1, 2, 3]}, {"shares": shares}) for shares in ([3, 2, 1], [])),
    ({**OVER, "aggregate": "variance"}, {"variance_weight": 0.5}),
    ({"score": "random", "sparsity": 0.5}, {"seed": 1}),
]


def ids_of_pairs(folder: Path, pairs: Pairs) -> list[tuple[set[str], set[str]]]:
    """The ids of each entry without and with the other values, of one plan with all of them."""
    found: dict[str, set[str]] = defaultdict(set)
    both = [{**entry, **more} for entry, change in pairs for more in ({}, change)]
    variants, _ = planned(folder, recipe_of(*({**entry, "name": str(n)} for n, entry in enumerate(both))))
    for variant_id, variant in variants.items():
        for entry in variant.entries:
            found[entry.name].add(variant_id)
    return [(found[str(2 * n)], found[str(2 * n + 1)]) for n in range(len(pairs))]


def test_everything_a_variant_is_made_of_is_in_its_id(tiny_inputs: Path) -> None:
    for (first, second), (_, change) in zip(ids_of_pairs(tiny_inputs, CHANGES), CHANGES, strict=True):
        assert first, change
        assert second, change
        assert not first & second, change


EQUIVALENT: Pairs = [
    *((BASE, {"scope": scope}) for scope in ({"blocks": "0-2"}, {"without_blocks": []})),
    ({**BASE, "scope": {"blocks": [0, 1]}}, {"scope": {"without_blocks": [2]}}),
    ({**BASE, "scope": {"blocks": [0, 1]}}, {"scope": {"blocks": ["0-2", 1], "without_blocks": 2}}),
    ({**BASE, "scope": {"layers": ["fc2", "fc1"]}}, {"scope": {"layers": ["fc1", "fc2", "fc1"]}}),
    (BASE, {"schedule": {"kind": "uniform"}}),
    (OWL, {"schedule": {"kind": "owl", "m": 5, "spread": 0.08}}),
    ({**BASE, "schedule": {"blocks": {0: 0.25, 1: 0.5}}}, {"schedule": {"blocks": [[1, 0.5], [0, 0.25]]}}),
    (
        {**BASE, "schedule": {"block_layers": {"1.fc1": 0.5, "0.fc2": 0.25}}},
        {"schedule": {"block_layers": [["0.fc2", 0.25], ["1.fc1", 0.5]]}},
    ),
    *((BASE, same) for same in ({"structure": "row"}, {"seed": 4}, {"against": []})),
    (RIA, {"power": 0.5}),
    ({"score": "random", "sparsity": 0.5}, {"seed": 0}),
    (SPARSEGPT, {"damping": 0.01, "structure": "matrix"}),
    ({**OVER, "aggregate": "mean"}, {"shares": [2, 2, 2]}),
    ({**OVER, "aggregate": "mean", "shares": [1, 2, 3]}, {"shares": [2, 4, 6]}),
    ({**OVER, "aggregate": "variance"}, {"variance_weight": 1}),
    ({"score": "magnitude", "sparsity": 0.5}, {"tokens": "target", "samples": 2, "resample": 1}),
    *(({"score": "magnitude", "structure": "2:4"}, same) for same in ({"sparsity": 0.5}, {"permute": False})),
]


def test_equivalent_entries_give_the_same_id(tiny_inputs: Path) -> None:
    for (first, second), (_, same) in zip(ids_of_pairs(tiny_inputs, EQUIVALENT), EQUIVALENT, strict=True):
        assert first == second, same
        assert first, same


def test_dtype_and_batch_tokens_are_part_of_the_ids_that_depend_on_them(tiny_inputs: Path) -> None:
    entries = ({"score": "magnitude", "sparsity": 0.5}, {**WANDA, "demonstrations": "mono"})
    first = ids(tiny_inputs, *entries)
    batches = ids(tiny_inputs, *entries, compute={"batch_tokens": 256})
    assert [a == b for a, b in zip(first, batches, strict=True)] == [True, True, False]
    dtype = ids(tiny_inputs, *entries, model={"path": "model", "dtype": "bfloat16"})
    assert [a == b for a, b in zip(first, dtype, strict=True)] == [True, False, False]
    rest = ids(
        tiny_inputs, *entries, compute={"batch_tokens": 128, "replicas": 2, "shards": 3, "memory_gib_per_actor": 1}
    )
    assert rest == first


def test_m_has_to_divide_the_inputs_of_every_layer_in_the_scope(tiny_inputs: Path) -> None:
    assert len(ids(tiny_inputs, {"score": "magnitude", "structure": "8:16"})) == 2
    with refused(RecipeError, layer="self_attn.q_proj", got=32):
        planned(tiny_inputs, recipe_of({"score": "magnitude", "structure": "16:32"}))
    entry = {"score": "magnitude", "structure": "16:32", "scope": {"layers": ["fc2"]}}
    (_, result) = labels(tiny_inputs, entry)
    assert result == "magnitude 0.5 16:32 layers fc2"


def test_over_makes_one_variant_of_the_sets_of_each_seed(tiny_inputs: Path) -> None:
    seeds = {"mt": [0, 1], "mono": [1, 0], "code": [0, 1]}
    variants, _ = planned(tiny_inputs, recipe_of({**OVER, "aggregate": "mean"}, seeds=seeds))
    _, *result = variants.values()
    assert [[one.label for one in variant.sets] for variant in result] == [
        ["fr-en", "sw-en", "fr"],
        ["fr-en seed 1", "sw-en seed 1", "fr seed 1"],
    ]
    assert result[0].spec.set_ids == tuple(one.id for one in result[0].sets)
    assert (result[0].language, result[0].seed, result[1].seed) == (None, 0, 1)
    assert result[0].label == "wanda mean fr-en sw-en fr 0.5 row dense"


def test_over_compares_all_its_sets_with_the_contrast_set_of_their_seed(tiny_inputs: Path) -> None:
    entry = {**CONTRAST, "demonstrations": None, "over": ["mt"], "aggregate": "max"}
    variants, _ = planned(tiny_inputs, recipe_of(entry, seeds={"mt": [0, 1], "code": [1, 0]}))
    _, *result = variants.values()
    assert [(one.seed, one.contrast.label if one.contrast else None) for one in result] == [
        (0, "code"),
        (1, "code seed 1"),
    ]


def test_shares_are_one_number_per_set(tiny_inputs: Path) -> None:
    variants, _ = planned(tiny_inputs, recipe_of({**OVER, "over": ["mt"], "aggregate": "pooled", "shares": [1, 3]}))
    _, result = variants.values()
    assert result.spec.calibration.selection.shares == (0.25, 0.75)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(
    ("entry", "seeds", "context"),
    [
        ({**OVER, "over": ["mono"], "aggregate": "mean"}, {}, {"got": ["fr"]}),
        ({**OVER, "aggregate": "mean"}, {"mono": [0, 1]}, {"seed": 1}),
        ({**OVER, "aggregate": "mean"}, {"mono": [1]}, {"seed": 0}),
        ({**OVER, "aggregate": "mean", "shares": [1, 2]}, {}, {}),
        ({**BASE, "tokens": "target"}, {}, {"demonstrations": "mono"}),
        ({**BASE, "demonstrations": "mixed", "tokens": "target"}, {}, {"kind": "code"}),
        ({**BASE, "demonstrations": "mixed", "tokens": "source", "propagation": "sequential"}, {}, {"kind": "code"}),
        ({**OVER, "aggregate": "mean", "tokens": "target"}, {}, {"demonstrations": "mono"}),
        ({**CONTRAST, "tokens": "target"}, {}, {"demonstrations": "code"}),
        ({**BASE, "samples": 5}, {}, {"got": 5}),
        ({**CONTRAST, "samples": 5}, {}, {"got": 5}),
        ({**BASE, "scope": {"blocks": [3]}}, {}, {"key": "scope.blocks", "expected": "0 to 2", "got": 3}),
        ({**BASE, "scope": {"without_blocks": "2-3"}}, {}, {"key": "scope.without_blocks", "got": 3}),
        ({**BASE, "scope": {"layers": ["fc3"]}}, {}, {"key": "scope.layers", "got": "fc3"}),
        ({**BASE, "scope": {"without_layers": ["q_proj"]}}, {}, {"nearest": "self_attn.q_proj"}),
        ({**BASE, "scope": {"without_blocks": "0-2"}}, {}, {}),
        ({**BASE, "scope": {"layers": ["fc1"], "without_layers": ["fc1"]}}, {}, {}),
        ({**BASE, "schedule": {"blocks": {3: 0.5}}}, {}, {"key": "schedule.blocks", "got": 3}),
        ({**BASE, "schedule": {"block_layers": {"3.fc1": 0.5}}}, {}, {"key": "schedule.block_layers", "got": 3}),
        ({**BASE, "schedule": {"block_layers": {"1.fc": 0.5}}}, {}, {"key": "schedule.block_layers"}),
        ({**BASE, "schedule": {"layers": {"fc": 0.5}}}, {}, {"key": "schedule.layers"}),
        ({**SPARSEGPT, "structure": "16:32"}, {}, {"got": 32}),
    ],
)
def test_missing_blocks_layers_and_sets_are_refused(
    tiny_inputs: Path, entry: dict[str, Any], seeds: dict[str, list[int]], context: dict[str, Any]
) -> None:
    with refused(RecipeError, **context):
        planned(tiny_inputs, recipe_of(entry, seeds=seeds))


def test_one_set_under_two_names_is_not_aggregated_with_itself(tiny_inputs: Path) -> None:
    recipe = recipe_of({**OVER, "over": ["mono", "again"], "aggregate": "mean"})
    recipe["demonstrations"].append({**recipe["demonstrations"][1], "name": "again"})
    with pytest.raises(RecipeError):
        planned(tiny_inputs, recipe)


def test_owl_has_the_id_of_a_new_formula_where_its_sparsities_can_differ(tiny_inputs: Path) -> None:
    def formula(**keys: Any) -> object:
        variants, _ = planned(tiny_inputs, recipe_of({**OWL, **keys}))
        return list(variants.values())[1].spec.identity.parameters["schedule"].get("formula")

    assert formula() is formula(scope={"layers": ["fc1"]}) is formula(scope={"blocks": "0-2"}) is None
    assert formula(scope={"blocks": [0, 1]}) == formula(scope={"without_blocks": 2}) == 2
    assert formula(sparsity=0.16) is formula(sparsity=0.8) is None
    assert formula(sparsity=0.15) == formula(sparsity=0.9) == 2
    assert formula(sparsity=0.8, schedule={"kind": "owl", "spread": 0.2}) == 2


def test_a_label_contains_all_settings_that_are_not_defaults(tiny_inputs: Path) -> None:
    settings = {"score": "ria", "power": 1, "tokens": "source", "samples": 3, "resample": 7}
    _, first, _ = labels(tiny_inputs, {**BASE, "demonstrations": "mt", **settings})
    assert first == "ria fr-en 0.5 row dense power 1 source tokens 3 samples resample 7"
    others = [
        {**BASE, "removes": "highest"},
        {**OWL, "scope": {"blocks": [0, 1]}},
        {**BASE, "profile": "paper"},
        {**SPARSEGPT, "damping": 0.1},
    ]
    assert labels(tiny_inputs, *others)[1:] == [
        "wanda fr 0.5 row dense removing the highest",
        "wanda fr 0.5 row dense schedule owl blocks 0-1",
        "wanda fr 0.5 row dense profile paper",
        "sparsegpt fr 0.5 matrix sequential damping 0.1",
    ]


def test_equal_variants_of_two_entries_are_one_variant_with_both_entries(tiny_inputs: Path) -> None:
    entry = {**WANDA, "demonstrations": "mono"}
    variants, _ = planned(
        tiny_inputs, recipe_of({**entry, "name": "a"}, {**entry, "name": "b", "sparsity": [0.5, 0.6]})
    )
    _, both, second = variants.values()
    assert [one.name for one in both.entries] == ["a", "b"]
    assert [one.name for one in second.entries] == ["b"]


def test_an_accelerator_is_part_of_the_ids_of_what_it_computes_and_a_cpu_is_not(tiny_inputs: Path) -> None:
    recipe = recipe_of({**WANDA, "demonstrations": "mono"}, {"score": "magnitude", "sparsity": 0.5})
    recipe["model"] = {**recipe["model"], "dtype": "float32"}
    by_device = []
    for gpus in (0, 1):
        plan = build_plan(parse_recipe({**recipe, "compute": {"gpus_per_actor": gpus}}, folder=tiny_inputs))
        by_device.append(plan)
        devices = {one.spec.identity.parameters.get("device") for one in plan.variants.values() if one.sets}
        assert devices == {"cuda" if gpus else None}
        sizes = {one.spec.identity.parameters["batch_tokens"] for one in plan.variants.values() if one.sets}
        assert sizes == {SMALL_MODEL_BATCH_TOKENS if gpus else AUTO_BATCH_TOKENS["cpu"]}
        assert {batch_tokens_of(job) for job in plan.jobs} <= {*sizes, None}
    cpu, cuda = (dict(plan.variants) for plan in by_device)
    assert [one.label for key, one in cpu.items() if key in cuda] == ["dense", "magnitude 0.5 row"]
