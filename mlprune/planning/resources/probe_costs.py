"""Costs of analyses that measure probes: items, and how long they take."""

from dataclasses import dataclass

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.planning.plan import Plan
from mlprune.steps.demonstrate.writing import set_sizes
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.job import SetSizes
from mlprune.steps.probes import ProbedLosses
from mlprune.steps.tasks.evaluation import task_data
from mlprune.steps.trials_cost import TrialsCost


@dataclass(frozen=True)
class AnalysisCost:
    """What the probes of one entry need."""

    kind: str
    """Section of the entry."""
    name: str
    """Name of the entry."""
    n_probes: int
    evaluations: tuple[TrialsCost, ...]
    """Evaluations of all probes that one job compares, as one batch."""

    @property
    def n_items_scored(self) -> int:
        """Items, over all tasks and languages, that all probes score."""
        return sum(part.n_items_scored for part in self.evaluations)


def probe_costs(plan: Plan, sizes: Footprint) -> tuple[AnalysisCost, ...]:
    """Return the costs of the analyses of a plan.

    Args:
        sizes: of the recipe's model.
    """
    entries: dict[tuple[str, str], dict[str, ProbedLosses]] = {}
    for probes in plan.probes:
        for losses in probes.losses:
            entries.setdefault((probes.kind, losses.record.entry), {})[losses.record.id] = losses
    sets = set_sizes(plan.jobs)
    return tuple(
        AnalysisCost(
            *entry,
            len({variant for losses in of_entry.values() for variant in losses.variants}),
            tuple(_cost(plan, losses, sizes=sizes, sets=sets) for losses in of_entry.values()),
        )
        for entry, of_entry in entries.items()
    )


def _cost(plan: Plan, losses: ProbedLosses, *, sizes: Footprint, sets: SetSizes) -> TrialsCost:
    """Return the cost of the evaluations of all probes that a job compares."""
    batch_tokens = plan.model.batch_tokens(plan.recipe.compute)
    evaluation = EvaluateJob(plan.model, losses.evaluations, losses.variants[0], batch_tokens=batch_tokens)
    n_items = sum(len(task_data(one.task).items) for one in losses.evaluations)
    return TrialsCost(None, (len(losses.variants),), n_items, evaluation.cost(sizes, sets))
