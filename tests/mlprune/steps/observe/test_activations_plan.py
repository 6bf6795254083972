"""Planned raw activations, and requests that are refused."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.models.placement.memory_estimate import footprint
from mlprune.plan import Plan, build_plan
from mlprune.plan.job_costs import costs_of
from mlprune.recipe import parse_recipe
from mlprune.steps.observe.activations import ActivationsJob
from mlprune.steps.observe.jobs import ObserveJob
from tests.tiny_recipes import tiny_recipe

MT: dict[str, Any] = {**tiny_recipe()["demonstrations"][0], "source": "fr"}
TOKEN_BYTES = 3 * (16 + 16 + 16 + 64) * 4
GIB = 2**30


def plan_of(folder: Path, activations: dict[str, Any] | None, **entry: Any) -> Plan:
    own = {**MT, **entry, **({} if activations is None else {"activations": activations})}
    recipe = {**tiny_recipe(), "demonstrations": [own], "variants": [], "evaluations": []}
    return build_plan(parse_recipe(recipe, folder=folder))


def jobs_of(plan: Plan) -> list[ActivationsJob]:
    return [job for job in plan.jobs if isinstance(job, ActivationsJob)]


def test_activations_are_a_separate_job_and_change_no_other_id(tiny_inputs: Path) -> None:
    plain, plan = plan_of(tiny_inputs, None), plan_of(tiny_inputs, {"quota_gib": 1})
    (job,) = jobs_of(plan)
    assert [one for one in plan.jobs if one is not job] == list(plain.jobs)
    assert (job.blocks, job.inputs) == ((0, 1, 2), ("self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2"))
    assert job.needs == (("demonstration_sets", job.demonstration_set_id),)
    assert job.most_bytes == 4 * 48 * TOKEN_BYTES


def test_the_identity_has_what_is_stored_but_not_the_quota(tiny_inputs: Path) -> None:
    def identity(**activations: Any) -> str:
        (job,) = jobs_of(plan_of(tiny_inputs, {"quota_gib": 1, **activations}))
        return job.identity.id

    assert identity() == identity(quota_gib=2) == identity(blocks=[2, 0, 1]) == identity(samples=4)
    others = [identity(blocks=[1]), identity(inputs=["fc1"]), identity(samples=3), identity(dtype="float16")]
    assert len({identity(), *others}) == 5


@pytest.mark.parametrize(
    ("choice", "share"),
    [
        ({}, 1.0),
        ({"dtype": "float16"}, 0.5),
        ({"blocks": [0]}, 1 / 3),
        ({"inputs": ["fc2"]}, 64 / 112),
        ({"samples": 1}, 0.25),
    ],
)
def test_the_estimate_follows_the_choice_and_the_quota_is_exact_to_the_byte(
    tiny_inputs: Path, choice: dict[str, Any], share: float
) -> None:
    most = round(4 * 48 * TOKEN_BYTES * share)
    (job,) = jobs_of(plan_of(tiny_inputs, {"quota_gib": most / GIB, **choice}))
    assert job.most_bytes == most
    with pytest.raises(RecipeError, match="exceed their quota") as caught:
        plan_of(tiny_inputs, {"quota_gib": (most - 1) / GIB, **choice})
    assert caught.value.context["demonstrations"] == "mt"
    assert caught.value.context["expected"] == "quota_gib: 0.001, or fewer blocks, inputs or samples"
    assert "\n" not in str(caught.value)


def test_a_token_budget_bounds_the_estimate(tiny_inputs: Path) -> None:
    (job,) = jobs_of(plan_of(tiny_inputs, {"quota_gib": 1}, samples=None, token_budget=50))
    assert job.most_bytes == 50 * TOKEN_BYTES


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"blocks": [3]}, "no such block"),
        ({"inputs": ["fc3"]}, "unknown input of a block"),
        ({"samples": 5}, "more demonstrations than the set has"),
    ],
)
def test_choices_that_the_model_or_the_set_does_not_have_are_refused_with_the_name_of_the_set(
    tiny_inputs: Path, choice: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        plan_of(tiny_inputs, {"quota_gib": 1, **choice})
    assert caught.value.context["demonstrations"] == "mt"


def test_sets_of_one_entry_have_their_own_activations(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {"quota_gib": 1}, source=["fr", "sw"])
    sets = [job.demonstration_set_id for job in plan.jobs if isinstance(job, ObserveJob)]
    assert [job.demonstration_set_id for job in jobs_of(plan)] == sets
    assert len(set(sets)) == 2


def test_disk_and_passes_of_the_plan_count_them(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {"quota_gib": 1, "samples": 2})
    (job,) = jobs_of(plan)
    (observe,) = (one for one in plan.jobs if isinstance(one, ObserveJob))
    sizes = footprint(Path(plan.model.path), plan.model.dtype)
    stored, observed = costs_of(plan, sizes, [job, observe])
    assert (stored.disk_bytes, stored.n_passes) == (job.most_bytes, 1)
    assert stored.flops == observed.flops, "half the demonstrations, each block twice"
