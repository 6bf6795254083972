"""Which variants a recipe comes to, and who they are."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.plan.sets import plan_sets
from mlprune.plan.variants import PlannedVariant, plan_variants, variant_jobs
from mlprune.recipe import parse_recipe
from mlprune.steps.inputs import gather
from mlprune.steps.jobs import Job
from mlprune.steps.prune import CollectVariantsJob, DenseVariantJob, OrderBlockJob
from mlprune.steps.sweep import SweepJob
from tests.tiny_recipes import tiny_recipe

WANDA = {"demonstrations": "mt", "score": "wanda", "sparsity": 0.5}
CONTRAST = {"demonstrations": "mt", "contrast": "code", "score": "contrast", "sparsity": 0.5}


def recipe_of(*variants: dict[str, Any], seeds: dict[str, list[int]] | None = None, **sections: Any) -> dict[str, Any]:
    recipe = {**tiny_recipe(), "variants": list(variants), "evaluations": [], **sections}
    for entry in recipe["demonstrations"]:
        entry["seed"] = (seeds or {}).get(entry["name"], [0])
    return recipe


def planned(folder: Path, recipe: dict[str, Any]) -> tuple[dict[str, PlannedVariant], list[Job]]:
    parsed = parse_recipe(recipe, folder=folder)
    inputs = gather(parsed)
    variants = plan_variants(parsed, inputs, plan_sets(parsed, inputs, evaluated=frozenset()))
    return variants, variant_jobs(parsed, inputs, variants)


def labels(folder: Path, *variants: dict[str, Any], **options: Any) -> list[str]:
    return [one.label for one in planned(folder, recipe_of(*variants, **options))[0].values()]


def ids(folder: Path, *variants: dict[str, Any], **options: Any) -> list[str]:
    return list(planned(folder, recipe_of(*variants, **options))[0])


def test_the_dense_variant_always_exists_and_stands_first(tiny_inputs: Path) -> None:
    assert labels(tiny_inputs) == ["dense"]
    found = labels(tiny_inputs, {"score": "magnitude", "sparsity": 0.5})
    assert found == ["dense", "magnitude 0.5 row"]


def test_any_sparsity_0_is_the_dense_variant(tiny_inputs: Path) -> None:
    entries = [{**WANDA, "sparsity": 0}, {"score": "random", "sparsity": 0.0, "seed": 4}, {**CONTRAST, "sparsity": 0}]
    variants, jobs = planned(tiny_inputs, recipe_of(*entries))
    (dense,) = variants.values()
    assert (dense.label, dense.spec.sparsity, len(dense.entries)) == ("dense", 0.0, 3)
    assert [type(job) for job in jobs] == [DenseVariantJob]


def test_a_name_of_several_sets_makes_a_variant_of_each(tiny_inputs: Path) -> None:
    found = labels(tiny_inputs, {**WANDA, "propagation": ["dense", "sequential"]})
    assert found == [
        "dense",
        *(f"wanda {pair} 0.5 row {how}" for how in ("dense", "sequential") for pair in ("fr-en", "sw-en")),
    ]


def test_contrast_sets_pair_up_by_seed(tiny_inputs: Path) -> None:
    found = labels(tiny_inputs, {**CONTRAST, "propagation": "dense"}, seeds={"mt": [0, 1], "code": [1, 0]})
    pairs = [("fr-en", "code"), ("fr-en seed 1", "code seed 1"), ("sw-en", "code"), ("sw-en seed 1", "code seed 1")]
    assert found == ["dense", *(f"contrast {mt} against {code} 0.5 row dense" for mt, code in pairs)]


def test_a_seed_without_a_contrast_set_is_an_error(tiny_inputs: Path) -> None:
    with pytest.raises(RecipeError, match="equal seed") as caught:
        planned(tiny_inputs, recipe_of(CONTRAST, seeds={"mt": [0, 2], "code": [0, 1]}))
    assert (caught.value.context["expected"], caught.value.context["got"]) == ("a set of seed 2", [0, 1])


@pytest.mark.parametrize("score", ["magnitude", "random"])
def test_scores_without_statistics_ignore_demonstrations_and_propagation(tiny_inputs: Path, score: str) -> None:
    entry = {"score": score, "sparsity": 0.5}
    others = {**entry, "demonstrations": ["mt", "mono"], "propagation": ["dense", "sequential"]}
    variants, jobs = planned(tiny_inputs, recipe_of(entry, others))
    _, found = variants.values()
    assert (found.spec.demonstration_set_id, found.spec.contrast_set_id, found.spec.propagation) == (None, None, None)
    assert len(found.entries) == 5
    assert not any(isinstance(job, SweepJob) for job in jobs)
    assert {role for job in jobs for role, _ in job.needs} == {"mask_blocks"}


def test_only_the_random_score_has_a_seed(tiny_inputs: Path) -> None:
    assert len(ids(tiny_inputs, {"score": "random", "sparsity": 0.5, "seed": [0, 1, 2]})) == 4
    assert (
        len(ids(tiny_inputs, {"score": "random", "sparsity": 0.5}, {"score": "random", "sparsity": 0.5, "seed": 0}))
        == 2
    )
    assert len(ids(tiny_inputs, {"score": "magnitude", "sparsity": 0.5, "seed": [0, 1]})) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"demonstrations": "mono"},
        {"sparsity": 0.4},
        {"structure": "2:4"},
        {"propagation": "dense"},
        {"score": "contrast", "contrast": "code"},
    ],
)
def test_everything_a_variant_is_made_of_is_in_its_id(tiny_inputs: Path, change: dict[str, Any]) -> None:
    entry = {**WANDA, "demonstrations": "mono" if "contrast" in change else "mt"}
    assert not set(ids(tiny_inputs, entry)[1:]) & set(ids(tiny_inputs, {**entry, **change})[1:])


def test_dtype_and_batch_tokens_count_where_they_can_matter(tiny_inputs: Path) -> None:
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


def test_m_has_to_divide_the_inputs_of_every_layer(tiny_inputs: Path) -> None:
    assert len(ids(tiny_inputs, {"score": "magnitude", "structure": "8:16"})) == 2
    with pytest.raises(RecipeError, match="does not divide") as caught:
        planned(tiny_inputs, recipe_of({"score": "magnitude", "structure": "16:32"}))
    assert (caught.value.context["layer"], caught.value.context["got"]) == ("self_attn.q_proj", 32)


def test_one_ordering_serves_all_sparsities_of_a_recipe(tiny_inputs: Path) -> None:
    entries = [{**WANDA, "demonstrations": "mono", "propagation": "dense", "sparsity": one} for one in (0.5, 0.1, 0.3)]
    variants, jobs = planned(tiny_inputs, recipe_of(*entries))
    (collect,) = (job for job in jobs if isinstance(job, CollectVariantsJob))
    blocks = [job for job in jobs if isinstance(job, OrderBlockJob)]
    assert [one.sparsity for one in collect.variants] == [0.1, 0.3, 0.5]
    assert [(job.block, job.sparsities) for job in blocks] == [(block, (0.1, 0.3, 0.5)) for block in range(3)]
    assert {one.id for one in collect.variants} == set(list(variants)[1:]) == {key[1] for key in collect.shared}
    assert collect.needs == tuple(job.makes[0] for job in blocks)


def test_sets_seeds_and_structures_have_orderings_of_their_own(tiny_inputs: Path) -> None:
    entries = (
        {**WANDA, "propagation": "dense"},
        {**CONTRAST, "propagation": "dense"},
        {"score": "random", "sparsity": [0.25, 0.5], "seed": [0, 1]},
        {"score": "magnitude", "structure": "2:4"},
        {"score": "magnitude", "sparsity": 0.5},
    )
    _, jobs = planned(tiny_inputs, recipe_of(*entries))
    sizes = [len(job.variants) for job in jobs if isinstance(job, CollectVariantsJob)]
    assert sorted(sizes) == [1] * 6 + [2] * 2


def test_every_sparsity_of_sequential_propagation_is_a_sweep(tiny_inputs: Path) -> None:
    _, jobs = planned(tiny_inputs, recipe_of({**WANDA, "sparsity": [0.1, 0.3]}, CONTRAST))
    sweeps = [job for job in jobs if isinstance(job, SweepJob)]
    assert len(sweeps) == 6
    assert [len(job.needs) for job in sweeps] == [1] * 4 + [2] * 2
    assert not any(isinstance(job, OrderBlockJob) for job in jobs)


def test_equal_variants_of_two_entries_are_one_that_knows_both(tiny_inputs: Path) -> None:
    entry = {**WANDA, "demonstrations": "mono"}
    variants, _ = planned(
        tiny_inputs, recipe_of({**entry, "name": "a"}, {**entry, "name": "b", "sparsity": [0.5, 0.6]})
    )
    _, both, second = variants.values()
    assert [one.name for one in both.entries] == ["a", "b"]
    assert [one.name for one in second.entries] == ["b"]
