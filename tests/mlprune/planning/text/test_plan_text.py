"""Lines of a plan, and what jobs say in it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, get_args

import pytest

from mlprune.models.placement.memory_estimate import footprint
from mlprune.planning.resources.node_capacity import Node
from mlprune.planning.resources.probe_costs import probe_costs
from mlprune.planning.resources.rates import Rates
from mlprune.planning.text import needs_lines
from mlprune.planning.text.needs_lines import PlannedMachines
from mlprune.planning.text.plan_text import plan_lines, planned_work, probe_lines
from mlprune.steps.job import JobCost, RecordKey
from mlprune.steps.plan_lines import Place, PlanLine, PlannedJobs
from mlprune.store.store import Store
from tests.search_recipes import N_SEARCHED, sensitivity_recipe
from tests.stub_jobs import StubJob
from tests.tiny_recipes import plan_of, small_recipe, write_recipe


@dataclass(frozen=True)
class TalkingJob(StubJob):
    """A job that has a line at each place of a plan."""

    name: str

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        return (("variants", self.name),)

    @classmethod
    def plan_lines(cls, planned: PlannedJobs[Self, JobCost]) -> Iterable[PlanLine]:
        names = " and ".join(one.name for one in planned.jobs)
        n_pending = sum(cost.step == cls.step for _, cost in planned.pending)
        return [PlanLine(place, f"{place}: {names} of {planned.model_id}, {n_pending}") for place in get_args(Place)]


def test_jobs_of_a_class_that_the_planner_does_not_know_describe_themselves(
    own_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs_lines, "measure_rates", lambda _model, *, n_threads: Rates(n_threads * 1e9, 1e8))
    plan = plan_of(write_recipe(own_inputs, small_recipe()))
    store, machines = Store(tmp_path / "store"), PlannedMachines([Node(4, 2**34)], 2)
    silent = plan_lines(planned_work(plan, store), machines)
    talking = replace(plan, jobs=(*plan.jobs, TalkingJob("one"), TalkingJob("two")))
    lines = plan_lines(planned_work(talking, store), machines)
    said = [line for line in lines if " of " in line and "one and two" in line]
    assert said == [f"{place}: one and two of {plan.model.base_model_id}, 2" for place in get_args(Place)]
    assert len(lines) == len(silent) + len(said)


def test_an_analysis_is_described_by_its_probes(tiny_inputs: Path) -> None:
    recipe = sensitivity_recipe(by=["block", "layer"], sparsity=[0.5, 0.7])
    plan = plan_of(write_recipe(tiny_inputs, recipe, name="analysed.yaml"))
    costs = probe_costs(plan, footprint(Path(plan.model.path), plan.model.dtype))
    n_probes = 2 * (3 + 6)  # sparsities, blocks and layers
    n_items = f"{n_probes * 2 * N_SEARCHED} items over all languages"
    assert probe_lines(costs, lambda part: float(part.n_trials)) == [
        f"sensitivity where: {n_probes} probes, {n_items}, about {n_probes} s, if none of it is done"
    ]
    assert "time unknown" in probe_lines(costs, lambda _: None)[0]
