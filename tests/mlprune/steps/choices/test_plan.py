"""Planned choices."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.plan import Plan, build_plan
from mlprune.recipe import parse_recipe
from mlprune.steps.choices.jobs import ChoiceJob
from tests.tiny_recipes import N_FACTS, copied_inputs, small_recipe, write_facts

FACTS = {"task": "facts", "path": "facts", "languages": ["en", "fr"]}


@pytest.fixture(scope="module")
def inputs(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied_inputs(tiny_inputs, tmp_path_factory.mktemp("choices"))
    write_facts(folder, "dev", range(N_FACTS, 2 * N_FACTS))
    return folder


def plan_of(folder: Path, *evaluations: dict[str, Any]) -> Plan:
    return build_plan(parse_recipe({**small_recipe(), "evaluations": list(evaluations)}, folder=folder))


def choices(plan: Plan) -> list[ChoiceJob]:
    return [job for job in plan.jobs if isinstance(job, ChoiceJob)]


def test_dense_and_all_pruned_variants_are_candidates_dense_first_then_by_sparsity(inputs: Path) -> None:
    plan = plan_of(inputs, FACTS, {**FACTS, "split": "dev"})
    (job,) = choices(plan)
    assert (job.metric, job.step, job.needs_chain) == ("accuracy", "compare", False)
    sparsities = [plan.variants[candidate.variant_id].spec.sparsity for candidate in job.candidates]
    assert sparsities == [0, 0.25, 0.5, 0.5]
    last = [candidate.variant_id for candidate in job.candidates[2:]]
    assert last == sorted(last)
    assert all(set(candidate.dev) == set(candidate.test) == {"en", "fr"} for candidate in job.candidates)
    made = [key for other in plan.jobs[: plan.jobs.index(job)] for key in other.makes]
    assert set(job.needs) <= set(made)


def test_without_a_dev_split_nothing_is_chosen_and_without_test_nothing_is_reported(inputs: Path) -> None:
    assert choices(plan_of(inputs, FACTS)) == []
    (job,) = choices(plan_of(inputs, {**FACTS, "split": "dev"}))
    assert all(candidate.dev and not candidate.test for candidate in job.candidates)


def test_the_largest_evaluation_of_a_task_counts(inputs: Path) -> None:
    small, large = ({**FACTS, "split": "dev", "limit": limit} for limit in (2, 4))
    (job,) = choices(plan_of(inputs, FACTS, small, large))
    assert {one.task.limit for candidate in job.candidates for one in candidate.dev.values()} == {4}


def test_a_variant_that_is_not_evaluated_on_dev_is_no_candidate(inputs: Path) -> None:
    plan = plan_of(inputs, FACTS, {**FACTS, "split": "dev", "variants": ["sweep"]})
    (job,) = choices(plan)
    names = [{entry.name for entry in plan.variants[one.variant_id].entries} for one in job.candidates]
    assert names[1:] == [{"sweep"}]


def test_a_choice_of_more_variants_has_another_id(inputs: Path) -> None:
    (all_variants,) = choices(plan_of(inputs, FACTS, {**FACTS, "split": "dev"}))
    (some,) = choices(plan_of(inputs, FACTS, {**FACTS, "split": "dev", "variants": ["sweep"]}))
    assert all_variants.identity.id != some.identity.id
