"""Registry of the built-in tasks and of the published data sets with their rows."""

from collections.abc import Mapping

from mlprune.evaluation.tasks.builtin import (
    belebele,
    facts,
    marc,
    parallel_text,
    paws_x,
    xcopa,
    xnli,
    xstory_cloze,
    xwinograd,
)
from mlprune.evaluation.tasks.hub_datasets import HubSet
from mlprune.evaluation.tasks.task import Task

TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        xnli.TASK,
        marc.TASK,
        marc.FIVE_LABELS,
        xcopa.TASK,
        paws_x.TASK,
        xstory_cloze.TASK,
        xwinograd.TASK,
        belebele.TASK,
        facts.TASK,
        parallel_text.TRANSLATION,
        parallel_text.PERPLEXITY,
    )
}
"""Built-in tasks by name."""

HUB_SETS: Mapping[str, HubSet] = {
    data.name: data for data in (*(task.dataset for task in TASKS.values() if task.dataset), *marc.COPIES)
}
"""Published data sets by name. Their keys are those of the tasks."""
