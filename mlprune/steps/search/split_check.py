"""Check that the split on which a search chooses shares nothing with the split on which it reports."""

from collections.abc import Iterable, Mapping

from mlprune.errors import RecipeError
from mlprune.evaluation.tasks.item_groups import clusters_of
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.steps.choices.split_overlap import SplitItems
from mlprune.steps.evaluate.task_items import task_data
from mlprune.steps.evaluate.task_spec import TaskSpec

SHOWN_CHARACTERS = 60
"""Characters of a shared text that a message shows."""


def refuse_shared_items(search: str, chosen_on: Iterable[TaskSpec], *, reported_on: Iterable[TaskSpec]) -> None:
    """Refuse a search whose splits have items or clusters of a task in common.

    An item is shared if its texts are those of an item of the same language and task on the other split; a cluster, if
    its name occurs on both, in any language. Items that a limit leaves out do not count.

    Raises:
        RecipeError: something is shared; the message has the numbers and one example.
    """
    first, second = _by_task(chosen_on), _by_task(reported_on)
    for task in first:
        if task in second:
            _refuse_shared(search, task, first[task], second[task])


def split_items(spec: TaskSpec) -> SplitItems:
    """Return texts and clusters of the items of a task in one language."""
    items = task_data(spec).items
    texts = {item.example_id: item.texts if isinstance(item, ChoiceItem) else (item.source,) for item in items}
    clusters = dict(zip(texts, clusters_of(items), strict=True))
    return SplitItems(texts, clusters)


def _by_task(specs: Iterable[TaskSpec]) -> dict[str, dict[str, TaskSpec]]:
    tasks: dict[str, dict[str, TaskSpec]] = {}
    for spec in specs:
        tasks.setdefault(spec.task, {}).setdefault(spec.language, spec)
    return tasks


def _refuse_shared(search: str, task: str, first: Mapping[str, TaskSpec], second: Mapping[str, TaskSpec]) -> None:
    chosen_on, reported_on = (
        {language: split_items(spec) for language, spec in specs.items()} for specs in (first, second)
    )
    shared_items = [
        (language, example_id, items.texts[example_id][0])
        for language, items in reported_on.items()
        if language in chosen_on
        for example_id in items.shared_with(chosen_on[language])
    ]
    named = [
        dict.fromkeys(name for items in of_split.values() for name in sorted(items.named_clusters))
        for of_split in (chosen_on, reported_on)
    ]
    shared_clusters = [name for name in named[1] if name in named[0]]
    if not shared_items and not shared_clusters:
        return
    splits = [next(iter(specs.values())).split for specs in (first, second)]
    if shared_items:
        language, example_id, text = shared_items[0]
        example = f"{language} {example_id}: {text[:SHOWN_CHARACTERS]}"
    else:
        example = f"cluster {shared_clusters[0]}"
    message = "a search would report its winner on items on which it was chosen"
    remedy = "other paths or limits" if shared_items else "split_by: clusters (path corpus), or other paths"
    counts = {"n_shared_items": len(shared_items), "n_shared_clusters": len(shared_clusters)}
    expected = f"splits without overlap: {remedy}"
    raise RecipeError(message, search=search, task=task, splits=splits, **counts, example=example, expected=expected)
