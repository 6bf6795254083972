"""Recipe files: YAML, with the sections of a base in the same folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlprune.errors import RecipeError
from mlprune.yaml_files import read_yaml

BASE = "base"
"""Key with the name of a file in the same folder, whose sections the recipe takes unless it has its own."""


def read_recipe_file(path: Path, *, derived: Sequence[Path] = ()) -> dict[Any, Any]:
    """Read a recipe with the sections of its base; a section of the recipe replaces the whole section of the base.

    Args:
        derived: the recipes whose base this file is.
    Raises:
        RecipeError: a file is missing or is not a mapping in YAML, or `base` is not a file in the recipe's folder.
    """
    recipe = _read_mapping(path)
    if BASE not in recipe:
        return recipe
    name = recipe.pop(BASE)
    if not isinstance(name, str) or not name or Path(name).name != name:
        expected = "the name of a file in the same folder"
        raise RecipeError("base is not a file name", where=str(path), key=BASE, expected=expected, got=name)
    base = path.parent / name
    if base in (path, *derived):
        chain = [file.name for file in (*derived, path, base)]
        raise RecipeError("a recipe is its own base", where=str(path), key=BASE, got=" -> ".join(chain))
    return {**read_recipe_file(base, derived=(*derived, path)), **recipe}


def _read_mapping(path: Path) -> dict[Any, Any]:
    try:
        value = read_yaml(path)
    except OSError as err:
        raise RecipeError("the recipe cannot be read", path=str(path), reason=err.strerror) from err
    except ValueError as err:
        raise RecipeError("the recipe is not YAML", path=str(path), reason=str(err)) from err
    if not isinstance(value, dict):
        raise RecipeError("the recipe is not a mapping", path=str(path), expected="keys and values")
    return value
