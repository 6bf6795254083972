"""Load a recipe: read its file, expand the lists of entries, and check everything."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from mlprune.errors import RecipeError, repeated
from mlprune.recipe.loading.combinations import Entry, expand_entry
from mlprune.recipe.loading.counts import require_few, require_few_combinations
from mlprune.recipe.loading.plugin_files import PLUGINS, provide_plugins
from mlprune.recipe.loading.recipe_file import read_recipe_file
from mlprune.recipe.loading.sections import HIDDEN, MULTIPLIED
from mlprune.recipe.loading.validation_errors import first_error
from mlprune.recipe.models import Recipe


def load_recipe(path: Path, *, allowed_plugins: Sequence[Path] = (), allow_many: bool = False) -> Recipe:
    """Read and check a recipe.

    Args:
        allowed_plugins: files of plug-ins that the recipe may name; their code runs in this process.
        allow_many: whether its lists may multiply out to more than `counts.MOST` variants, sets or evaluations.
    Raises:
        RecipeError: the file is missing, is not YAML, or is not a valid recipe; the message is one line.
    """
    value = read_recipe_file(path)
    return parse_recipe(
        value, folder=path.parent, where=str(path), allowed_plugins=allowed_plugins, allow_many=allow_many
    )


def parse_recipe(
    value: Entry,
    *,
    folder: Path,
    where: str = "recipe",
    allowed_plugins: Sequence[Path] = (),
    allow_many: bool = False,
) -> Recipe:
    """Check a recipe that is a mapping; see `load_recipe`."""
    for key in HIDDEN & set(value):
        raise RecipeError("unknown key", where=where, key=key, expected=sorted(set(Recipe.model_fields) - HIDDEN))
    provide_plugins(value.get(PLUGINS, ()), folder=folder, allowed=allowed_plugins, where=where)
    if not allow_many:
        require_few_combinations(value, where=where)
    filled = dict(value)
    n_excluded = 0
    for section in MULTIPLIED:
        entries = filled.get(section)
        if isinstance(entries, list):
            _refuse_repeated_names(entries, section=section, where=where)
            expanded = [_expand(entry, f"{section}.{i}", where=where) for i, entry in enumerate(entries)]
            filled[section] = [combination for combinations, _ in expanded for combination in combinations]
            n_excluded += sum(n for _, n in expanded) if section == "variants" else 0
    try:
        context = {"tasks": _task_names(filled.get("tasks"))}
        recipe = Recipe.model_validate({**filled, "folder": folder, "n_excluded": n_excluded}, context=context)
    except ValidationError as err:
        raise first_error(err, where=where) from err
    if not allow_many:
        require_few(recipe, value, where=where)
    return recipe


def _task_names(section: object) -> list[str]:
    """Names of the tasks that the recipe defines; entries without a name are reported later."""
    entries = section if isinstance(section, list) else []
    return [str(entry["name"]) for entry in entries if isinstance(entry, dict) and "name" in entry]


def _expand(entry: object, key: str, *, where: str) -> tuple[list[object], int]:
    """All combinations of an entry, and the number of combinations that its `exclude` removes."""
    if not isinstance(entry, dict):
        return [entry], 0
    try:
        combinations: list[object] = [*expand_entry(entry)]
        everything = expand_entry({name: value for name, value in entry.items() if name != "exclude"})
        return combinations, len(everything) - len(combinations)
    except RecipeError as err:
        raise RecipeError(err.message, err.context, where=where, key=key) from err


def _refuse_repeated_names(entries: list[object], *, section: str, where: str) -> None:
    """Refuse two entries with one name; references to the name would be ambiguous."""
    names = [str(entry["name"]) for entry in entries if isinstance(entry, dict) and entry.get("name") is not None]
    for name in repeated(names):
        expected = "a name for one entry, whose lists multiply"
        raise RecipeError("two entries have the same name", where=where, key=section, expected=expected, got=name)
