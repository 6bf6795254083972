"""Registry of the built-in tasks and of the published data sets with their rows.

`TASK_TRAITS` in the vocabulary lists the tasks, because recipes need their names without their code. It also
names the module of `builtin` whose function with the name of the task describes it.
"""

from collections.abc import Mapping
from importlib import import_module

from mlprune.descriptions import HubSet
from mlprune.evaluation.tasks import builtin
from mlprune.evaluation.tasks.task import Task
from mlprune.vocabulary import TASK_TRAITS

TASKS: Mapping[str, Task] = {
    name: getattr(import_module(f"{builtin.__name__}.{traits.module}"), name)() for name, traits in TASK_TRAITS.items()
}
"""Built-in tasks by name."""

HUB_SETS: Mapping[str, HubSet] = {
    data.name: data for task in TASKS.values() for data in (*([task.dataset] if task.dataset else []), *task.copies)
}
"""Published data sets by name. Their keys are those of the tasks."""
