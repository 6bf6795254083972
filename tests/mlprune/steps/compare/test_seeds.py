"""Groups of seeds and their stored components, compared with plain computation."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlprune.planning import build_plan
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.compare.seeds import SeedComponentsJob, seed_components_job, seed_groups
from tests.tiny_recipes import N_FACTS, FinishedRun, tiny_recipe

WANDA = {"score": "wanda", "sparsity": [0.25, 0.5], "propagation": "dense"}


def groups_of(folder: Path, *variants: dict[str, Any]) -> list[tuple[str, list[tuple[int, str]]]]:
    """What is drawn, and (seed, label) of the variants of each group."""
    recipe = {**tiny_recipe(), "variants": list(variants), "evaluations": []}
    recipe["demonstrations"] = [{**recipe["demonstrations"][0], "source": ["fr", "sw"], "seed": [0, 1, 2]}]
    plan = build_plan(parse_recipe(recipe, folder=folder))
    labels = {variant.id: variant.label for variant in plan.variants.values()}
    return [
        (group.source, [(seed, labels[variant]) for seed, variant in group.variants])
        for group in seed_groups(plan.variants.values())
    ]


def test_variants_that_differ_in_the_seed_of_their_demonstrations_are_a_group(tiny_inputs: Path) -> None:
    found = groups_of(tiny_inputs, {"name": "w", "demonstrations": "mt", **WANDA})
    assert {source for source, _ in found} == {"demonstrations"}
    assert len(found) == 2 * 2
    for _, variants in found:
        assert [seed for seed, _ in variants] == [0, 1, 2]
        texts = {label.replace(f" seed {seed}", "") for seed, label in variants}
        assert len(texts) == 1


def test_sets_of_one_token_budget_are_a_group_whatever_number_of_demonstrations_fills_it(tiny_inputs: Path) -> None:
    recipe = {**tiny_recipe(), "evaluations": []}
    options = {"samples": None, "token_budget": 100, "seed": [0, 1, 2]}
    recipe["demonstrations"] = [{**recipe["demonstrations"][0], "source": "fr", **options}]
    recipe["variants"] = [{"name": "w", "demonstrations": "mt", **WANDA, "sparsity": 0.5}]
    plan = build_plan(parse_recipe(recipe, folder=tiny_inputs))
    variants = list(plan.variants.values())
    of_other_sizes = [
        replace(
            variant, sets=tuple(replace(planned, spec=replace(planned.spec, samples=4 + number)) for planned in sets)
        )
        for number, variant in enumerate(variants)
        if (sets := variant.sets)
    ]
    for planned in (variants, of_other_sizes):
        (group,) = seed_groups(planned)
        assert [seed for seed, _ in group.variants] == [0, 1, 2]


def test_seeds_of_scores_bootstraps_and_combinations_are_groups_of_their_own(tiny_inputs: Path) -> None:
    single = {**WANDA, "demonstrations": "mt", "sparsity": 0.5}
    found = groups_of(
        tiny_inputs,
        {"name": "r", "score": "random", "sparsity": [0.25, 0.5], "seed": [3, 5]},
        {"name": "a", **single},
        {"name": "b", **single, "score": "ria"},
        {"name": "c", "combine": "union", "of": ["a", "b"]},
    )
    sizes = sorted((source, len(variants)) for source, variants in found)
    assert sizes == [("demonstrations", 3)] * 6 + [("score", 2)] * 2
    assert [seed for source, variants in found if source == "score" for seed, _ in variants] == [3, 5, 3, 5]


def test_methods_with_one_seed_have_no_group(tiny_run: FinishedRun) -> None:
    (group,) = seed_groups(tiny_run.plan.variants.values())
    labels = [tiny_run.plan.variants[variant].label for _, variant in group.variants]
    assert (group.source, labels) == ("score", ["random 0.5 row", "random 0.5 row seed 1"])


def right_answers(run: FinishedRun, variant: str, language: str) -> np.ndarray:
    """[items] 1 where the right candidate has the highest score."""
    (row,) = (
        row
        for row in run.rows("evaluations")
        if (row["task"], row["variant_id"], row["language"]) == ("facts", variant, language)
    )
    (record,) = (record for record in run.store.records("evaluations") if record.id == row["evaluation_id"])
    table = run.store.read_table(record.artefacts[0])
    scores = np.array(table["log_likelihood"]).reshape(N_FACTS, -1) / np.array(table["n_tokens"]).reshape(N_FACTS, -1)
    gold = np.array(table["is_gold"]).reshape(N_FACTS, -1).argmax(axis=1)
    return (scores.argmax(axis=1) == gold).astype(float)


@pytest.mark.thorough("runs a model for every case")
def test_rows_have_the_differences_of_both_seeds_in_every_language_and_together(tiny_run: FinishedRun) -> None:
    rows = {row["group_name"]: row for row in tiny_run.rows("seed_components") if row["metric"] == "accuracy"}
    assert set(rows) == {"", "en", "fr", "sw"}
    dense = next(iter(tiny_run.plan.variants))
    for name, row in rows.items():
        languages = [name] if name else ["fr", "sw"]
        differences = [
            np.mean([right_answers(tiny_run, variant, one) for one in languages], axis=0)
            - np.mean([right_answers(tiny_run, dense, one) for one in languages], axis=0)
            for variant in row["variant_ids"]
        ]
        assert row["difference"] == pytest.approx(np.mean(differences))
        assert row["sd_seed"] == pytest.approx(np.std([each.mean() for each in differences], ddof=1))
        assert (row["languages"], row["n_languages"]) == (" ".join(languages), len(languages))
        assert (row["seeds"], row["n_seeds"], row["seed_of"], row["interval"]) == ([0, 1], 2, "score", "t")
        assert (row["task"], row["split"], row["n_items"], row["baseline_id"]) == ("facts", "test", N_FACTS, dense)
        if np.std(differences) > 0:
            assert row["ci_low"] <= row["difference"] <= row["ci_high"]
        else:
            assert (row["ci_low"], row["ci_high"], row["sd_seed_ci_high"]) == (None, None, None)
        assert row["variant_id"] == row["variant_ids"][0]
    assert rows[""]["group_kind"] == "outside_english"


def test_one_seed_or_no_common_language_needs_no_job(tiny_run: FinishedRun) -> None:
    (job,) = (job for job in tiny_run.plan.jobs if isinstance(job, SeedComponentsJob))
    options = {"baseline_id": job.baseline_id, "baselines": job.baselines}
    assert seed_components_job(job.source, job.seeds, **options) == job
    assert seed_components_job(job.source, job.seeds[:1], **options) is None
    assert seed_components_job(job.source, job.seeds, **{**options, "baselines": ()}) is None
