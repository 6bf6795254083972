"""Load the recipe of a command line, with the changes that its options `--set`, `--shrink` and `--model` ask for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import yaml

import mlprune.demo
from mlprune.errors import ModelError
from mlprune.models.loading import inspect_model, resolve_model
from mlprune.recipe.changes import shrink, with_model
from mlprune.recipe.loading import parse_recipe, read_recipe_file
from mlprune.recipe.models import Recipe
from mlprune.recipe.settings import with_settings

DEMO = "demo"
"""The embedded model, as a value of `--model`."""
RecipeSource: TypeAlias = Path | Mapping[str, object]
"""A recipe file, or the content of one, whose relative paths start at the current folder."""
DEMO_MODEL = Path(mlprune.demo.__file__).parent / "xglm-cldr-2m"


@dataclass(frozen=True)
class RecipeChanges:
    """Changes of a recipe that a command line asks for."""

    shrink: int | None = None
    """At most this many demonstrations per set and items per evaluation."""
    model: str | None = None
    """Folder or hub id of another base model; `demo` for the embedded one."""
    allowed_plugins: tuple[Path, ...] = ()
    """Files of plug-ins that the recipe may name."""
    allow_many: bool = False
    """Whether its lists may multiply out to more variants than a recipe usually may."""
    settings: tuple[str, ...] = ()
    """`path=value`: values of the recipe, which are part of it and so of the ids of its results."""


NO_CHANGES = RecipeChanges()


def load_changed_recipe(source: RecipeSource, changes: RecipeChanges) -> Recipe:
    """Load a recipe and change it.

    Raises:
        RecipeError: the recipe cannot be used, or has no place for a setting.
        ModelError: the other model is not named or cannot be read.
    """
    if changes.model is not None and not changes.model.strip():
        raise ModelError("no model is named", option="--model", expected=f"a folder, a hub id or {DEMO}", got="")
    folder, where = (source.parent, str(source)) if isinstance(source, Path) else (Path.cwd(), "recipe")
    recipe = parse_recipe(
        _content(source, changes),
        folder=folder,
        where=where,
        allowed_plugins=changes.allowed_plugins,
        allow_many=changes.allow_many,
    )
    if changes.settings:
        recipe = recipe.model_copy(update={"name": f"{recipe.name} ({', '.join(changes.settings)})"})
    if changes.shrink is not None:
        recipe = shrink(recipe, changes.shrink)
    if changes.model is not None:
        given = str(DEMO_MODEL) if changes.model == DEMO else changes.model
        folder = Path(given).expanduser()
        model = str(folder.absolute()) if folder.is_dir() else given
        info = inspect_model(resolve_model(model))
        recipe = with_model(recipe, model, label=changes.model, max_positions=info.max_positions)
    return recipe


def _content(source: RecipeSource, changes: RecipeChanges) -> dict[str, object]:
    """Return the content of a recipe, with the sections of its base and the settings."""
    return with_settings(read_recipe_file(source) if isinstance(source, Path) else source, changes.settings)


def recipe_text(source: RecipeSource, changes: RecipeChanges) -> str:
    """Return a recipe as one YAML text, with the sections of its base and the settings; other options that change it
    are in a comment.

    Raises:
        RecipeError: the file cannot be read, or has no place for a setting.
    """
    options = [("--shrink", changes.shrink), ("--model", changes.model)]
    given = " ".join(f"{option} {json.dumps(value)}" for option, value in options if value is not None)
    comment = f"# run with {given}\n" if given else ""
    content = _content(source, changes)
    content = content if isinstance(source, Path) else json.loads(json.dumps(content, default=str))
    return comment + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
