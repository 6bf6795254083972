"""Registry of the built-in tasks and of the published data sets with their rows.

`TASK_TRAITS` in the vocabulary lists the tasks, because recipes need their names without their code. The modules are
found by that list.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module

from mlprune.descriptions import HubSet
from mlprune.evaluation.tasks import builtin
from mlprune.evaluation.tasks.task import Task
from mlprune.vocabulary import TASK_TRAITS


def _declared(module: str) -> Iterator[Task]:
    """Yield the tasks that a module of `builtin` declares."""
    values = vars(import_module(f"{builtin.__name__}.{module}")).values()
    return (value for value in values if isinstance(value, Task))


TASKS: Mapping[str, Task] = {
    name: next(task for task in _declared(traits.module) if task.name == name) for name, traits in TASK_TRAITS.items()
}
"""Built-in tasks by name."""

HUB_SETS: Mapping[str, HubSet] = {
    data.name: data for task in TASKS.values() for data in (*([task.dataset] if task.dataset else []), *task.copies)
}
"""Published data sets by name. Their keys are those of the tasks."""
