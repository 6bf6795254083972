"""The id of the stored items of a task: what determines the items, and nothing about how they are scored."""

from collections.abc import Mapping
from dataclasses import replace

from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.job import Identity, make_identity

KIND = "task_items"
CONTENTS = ("items", "groups")
"""Contents of an evaluation that are its items."""


def items_identity(task: TaskSpec, contents: Mapping[str, str]) -> Identity:
    """Return the identity of the items of an evaluation, whatever part of them a rescoring kept.

    Args:
        contents: of the evaluation.
    """
    items = replace(
        task,
        seed=0 if task.limit is None else task.seed,
        rule="mean",
        metrics=(),
        subset=None,
        shots=0,
        shot_seed=0,
        max_new_tokens=0,
        other_shots=False,
        longer="refuse",
    )
    of_items = {name: contents[name] for name in CONTENTS if name in contents}
    return make_identity(KIND, items.parameters, contents=of_items)
