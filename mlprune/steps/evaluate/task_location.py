"""Where the rows of tasks are: a path of the recipe as a folder, or as a data set of a hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlprune.evaluation.tasks.hub_datasets import HubSet, HubSource, hub_source, pinned
from mlprune.evaluation.tasks.registry import HUB_SETS
from mlprune.recipe import Recipe
from mlprune.steps.demonstrate.source_texts import task_folder
from mlprune.vocabulary import HUB


def task_source(recipe: Recipe, path: str) -> Path | HubSource:
    """What a path of the recipe stands for; no hub is asked, so a data set of one has no commit yet.

    Raises:
        RecipeError: neither the package nor the recipe knows a data set of that name.
    """
    if not path.startswith(HUB):
        return recipe.resolve(path)
    own = {one.name: HubSet(**one.model_dump()) for one in recipe.data_sets}
    return hub_source(path, {**HUB_SETS, **own})


def items_at(
    recipe: Recipe, path: str, *, languages: Sequence[str], split: str, called: str = "folder"
) -> dict[str, Any]:
    """A path as the fields of a description of a task's items: `hub`, at one commit and fetched, or a folder.

    Args:
        languages: whose items are read.
        called: what the field of the folder is called.
    Raises:
        RecipeError: see `task_source`.
        TaskFileError: the data set has no such split, or cannot be fetched.
    """
    source = task_source(recipe, path)
    if isinstance(source, HubSource):
        return {called: "", "hub": pinned(source, tuple(languages), split)}
    return {called: task_folder(path, source)}
