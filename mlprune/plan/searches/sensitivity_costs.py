"""Costs of sensitivity analyses: their probes and items, and how long the evaluations take."""

from dataclasses import dataclass

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.plan.plan import Plan
from mlprune.plan.searches.search_costs import RungCost
from mlprune.steps.demonstrate.cost import set_sizes
from mlprune.steps.evaluate.jobs import EvaluateJob
from mlprune.steps.evaluate.task_items import task_data
from mlprune.steps.job_cost import SetSizes
from mlprune.steps.sensitivity.jobs import SensitivityJob


@dataclass(frozen=True)
class SensitivityCost:
    """What the probes of one sensitivity analysis need."""

    name: str
    """Name of the analysis."""
    n_probes: int
    """Variants in which one unit is pruned."""
    evaluations: tuple[RungCost, ...]
    """Evaluations of all probes of one kind of unit, sparsity and task, as one batch."""

    @property
    def n_items_scored(self) -> int:
        """Items, over all tasks and languages, that all probes score."""
        return sum(part.n_items_scored for part in self.evaluations)


def sensitivity_costs(plan: Plan, sizes: Footprint) -> tuple[SensitivityCost, ...]:
    """Return the costs of the sensitivity analyses of a plan.

    Args:
        sizes: of the recipe's model.
    """
    sets = set_sizes(plan.jobs)
    jobs = {job.identity.id: job for job in plan.jobs if isinstance(job, SensitivityJob)}
    analyses: dict[str, list[SensitivityJob]] = {}
    for name in plan.names:
        if name.kind == "sensitivity" and name.id in jobs:
            analyses.setdefault(name.name, []).append(jobs[name.id])
    return tuple(
        SensitivityCost(
            name,
            len({probe.variant_id for job in of_analysis for probe in job.probes}),
            tuple(_probes_cost(plan, job, sizes=sizes, sets=sets) for job in of_analysis),
        )
        for name, of_analysis in analyses.items()
    )


def _probes_cost(plan: Plan, job: SensitivityJob, *, sizes: Footprint, sets: SetSizes) -> RungCost:
    """Return the cost of the evaluations of all probes of a job, which read the same items."""
    probe, batch_tokens = job.probes[0], plan.recipe.compute.planned_batch_tokens(plan.model.device)
    evaluation = EvaluateJob(plan.model, probe.evaluations, probe.variant_id, batch_tokens=batch_tokens)
    n_items = sum(len(task_data(one.task).items) for one in probe.evaluations)
    return RungCost(None, (len(job.probes),), n_items, evaluation.cost(sizes, sets))
