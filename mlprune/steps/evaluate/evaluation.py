"""One evaluation of one variant."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlprune.steps.evaluate.interventions import Intervention, NoIntervention
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.job import Identity


@dataclass(frozen=True)
class EvaluationSpec:
    """One evaluation of one variant."""

    identity: Identity
    task: TaskSpec
    intervention: Intervention = field(default_factory=NoIntervention)
    """What the variant does at run time."""


Families = dict[TaskSpec, dict[str, EvaluationSpec]]
"""Task without language -> language -> evaluation."""


def families_of(evaluations: Iterable[EvaluationSpec]) -> Families:
    """Group evaluations that differ only in their language."""
    families: Families = defaultdict(dict)
    for evaluation in evaluations:
        families[evaluation.task.family][evaluation.task.language] = evaluation
    return dict(families)
