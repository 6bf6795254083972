"""One evaluation of one variant."""

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
