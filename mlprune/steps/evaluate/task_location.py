"""Locations of the rows of tasks: a folder, or a data set of a hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mlprune.evaluation.tasks.hub_datasets import HubSet, HubSource, hub_source, pinned
from mlprune.evaluation.tasks.registry import HUB_SETS
from mlprune.recipe import Recipe
from mlprune.steps.demonstrate.source_texts import task_folder
from mlprune.vocabulary import HUB


class TaskLocation(NamedTuple):
    """Location of the rows of a task."""

    folder: str = ""
    """Folder of task files; empty for a data set of a hub."""
    hub: HubSource | None = None
    """Data set of a hub, at one commit and fetched."""


def task_source(recipe: Recipe, path: str) -> Path | HubSource:
    """Parse a path of the recipe without access to a hub; a data set therefore has no commit yet.

    Raises:
        RecipeError: neither the package nor the recipe describes this data set.
    """
    if not path.startswith(HUB):
        return recipe.resolve(path)
    described = {config.name: HubSet(**config.model_dump()) for config in recipe.data_sets}
    return hub_source(path, {**HUB_SETS, **described})


def locate_items(recipe: Recipe, path: str, *, languages: Sequence[str], split: str) -> TaskLocation:
    """Locate the rows of a task, and fetch those of a hub.

    Args:
        languages: languages whose rows are fetched.
    Raises:
        RecipeError: see `task_source`.
        TaskFileError: the data set has no such split, or cannot be fetched.
    """
    source = task_source(recipe, path)
    if isinstance(source, HubSource):
        return TaskLocation(hub=pinned(source, tuple(languages), split))
    return TaskLocation(folder=task_folder(path, source))
