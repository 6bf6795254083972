"""Planned counts of neurons."""

from pathlib import Path
from typing import Any

from mlprune.plan import Plan, build_plan
from mlprune.recipe import parse_recipe
from mlprune.steps.observe.neurons import NeuronActivityJob
from tests.tiny_recipes import tiny_recipe


def plan_of(folder: Path, *names: str, **changes: Any) -> Plan:
    recipe = {**tiny_recipe(), "variants": [], "evaluations": [], **changes}
    sizes = {"shots": 2, "samples": 4, "max_tokens": 48}
    recipe["demonstrations"].append({"name": "both", "kind": "monolingual", "language": ["fr", "sw"], **sizes})
    return build_plan(parse_recipe({**recipe, "analyses": {"neurons": list(names)}}, folder=folder))


def counted(plan: Plan) -> list[NeuronActivityJob]:
    return [job for job in plan.jobs if isinstance(job, NeuronActivityJob)]


def test_every_named_set_is_counted_once_after_the_job_that_makes_it(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, "mono", "both", "code")
    made = {key: place for place, job in enumerate(plan.jobs) for key in job.makes}
    found = counted(plan)
    assert len(found) == len({job.demonstration_set_id for job in found}) == 3  # mono is one of both
    for job in found:
        assert made[job.needs[0]] < made[job.identity.key]


def test_without_names_nothing_is_counted_and_all_other_ids_are_the_same(tiny_inputs: Path) -> None:
    without, with_neurons = plan_of(tiny_inputs), plan_of(tiny_inputs, "both")
    assert not counted(without)
    own = {job.identity.key for job in counted(with_neurons)}
    assert [key for job in without.jobs for key in job.makes] == [
        key for job in with_neurons.jobs for key in job.makes if key not in own
    ]


def test_the_ids_of_counts_cover_everything_they_depend_on(tiny_inputs: Path) -> None:
    first, *others = (
        {job.identity.id for job in counted(plan_of(tiny_inputs, "both", **changes))}
        for changes in ({}, {"model": {"path": "model", "dtype": "bfloat16"}}, {"compute": {"batch_tokens": 64}})
    )
    assert all(first.isdisjoint(one) for one in others)
    assert {job.identity.id for job in counted(plan_of(tiny_inputs, "both", compute={"batch_tokens": 128}))} == first
