"""Items of a task, read once for all variants; they stay in memory."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import cast

from mlprune.evaluation.tasks.item_groups import ItemGroup
from mlprune.evaluation.tasks.published_examples import published_examples
from mlprune.evaluation.tasks.task_files import TaskData, corpus_items, read_items
from mlprune.steps.corpus_ref import open_corpus
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.vocabulary import SplitName

GROUPS = "groups"
"""Content of an id with the clusters and categories of the items."""


def as_run(spec: TaskSpec) -> TaskSpec:
    """Return the part of a task that determines the model's work: equal for all rules, metrics and subsets.

    Also equal for both profiles if they have the same examples.
    """
    run = replace(spec, rule="mean", metrics=(), subset=None)
    if spec.profile == "corrected" or spec.sides:
        return run
    whole = replace(run, profile="corrected", limit=None)
    return whole if spec.limit is None or spec.limit >= len(task_data(whole).items) else run


def task_data(spec: TaskSpec) -> TaskData:
    """Read and check the items of a task.

    Raises:
        TaskFileError: the items are missing in the files or the corpus.
    """
    return _task_data(as_run(spec))


def item_contents(spec: TaskSpec) -> dict[str, str]:
    """Return the hashes of the items of a task for an id: of the rows, and of clusters and categories if there are any.

    Raises:
        TaskFileError: the items are missing in the files or the corpus.
    """
    data = task_data(spec)
    return {"items": data.content_sha256, **({GROUPS: data.groups_sha256} if data.groups_sha256 else {})}


@cache
def _task_data(spec: TaskSpec) -> TaskData:
    if spec.profile == "paper":
        data = _task_data(replace(spec, profile="corrected", limit=None, seed=0))
        return data if spec.limit is None else data.keep(published_examples(data.items, spec.limit))
    if spec.corpus is None:
        source = spec.hub or Path(spec.folder)
        return read_items(
            spec.localized_task,
            source,
            language=spec.language,
            split=spec.split,
            limit=spec.limit,
            seed=spec.seed,
        )
    languages = spec.sides or (spec.language,)
    corpus = open_corpus(spec.corpus)
    lines = {} if spec.task == "facts" else {language: corpus.lines(language) for language in languages}
    return corpus_items(
        spec.task,
        lines,
        language=languages[0],
        target=languages[1] if len(languages) > 1 else None,
        split=cast("SplitName", spec.split) if spec.is_corpus_half else None,
        split_by=spec.split_by,
        documents=() if spec.task == "facts" else [ItemGroup(*document) for document in corpus.documents(languages[0])],
        limit=spec.limit,
        seed=spec.seed,
    )
