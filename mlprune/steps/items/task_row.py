"""The catalog's row about the items of a task: how many there are, and what guessing achieves."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from mlprune.evaluation.tasks.item_groups import clusters_of
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.task_files import Item
from mlprune.json_values import JsonValue
from mlprune.steps.evaluate.task_spec import TaskSpec


class Guessing(NamedTuple):
    """The number of candidates, and the accuracy of two ways to guess; None where there is nothing to choose."""

    n_candidates: int | None = None
    """Candidates of all items together."""
    least_candidates: int | None = None
    most_candidates: int | None = None
    chance: float | None = None
    """Expected accuracy of a random choice: the mean over the items of 1 / number of candidates."""
    majority_share: float | None = None
    """Accuracy of the most frequent right label; None if the candidates differ between items."""


def task_row(items_id: str, task: TaskSpec, items: Sequence[Item]) -> dict[str, JsonValue]:
    """Return the row of the table `tasks`."""
    return {
        "items_id": items_id,
        "task": task.task,
        "language": task.language,
        "split": task.split,
        "example_limit": task.limit,
        "limit_seed": task.protocol.limit_seed,
        "profile": task.profile,
        "prompts": task.prompts,
        "n": len(items),
        "n_clusters": len(set(clusters_of(items))),
        **guessing(items, has_labels=task.definition.has_labels)._asdict(),
    }


def guessing(items: Sequence[Item], *, has_labels: bool) -> Guessing:
    """Return what guessing achieves on items.

    Args:
        has_labels: whether the candidates are the same labels for all items.
    """
    choices = [item for item in items if isinstance(item, ChoiceItem) and len(item.candidates) > 1]
    if not choices:
        return Guessing()
    sizes = [len(item.candidates) for item in choices]
    (_, n_most), *_ = Counter(item.gold for item in choices).most_common(1)
    return Guessing(
        sum(sizes),
        min(sizes),
        max(sizes),
        sum(1 / size for size in sizes) / len(sizes),
        n_most / len(choices) if has_labels else None,
    )
