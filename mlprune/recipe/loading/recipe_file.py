"""Recipe files: YAML, with the sections of a base in the same folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mlprune.errors import RecipeError

BASE = "base"
"""Key with the name of a file in the same folder, whose sections the recipe takes unless it has its own."""


class RecipeLoader(yaml.SafeLoader):
    """YAML loader for which a repeated key is an error, and `2:4` is a text instead of a number in base 60."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping; a repeated key is an error."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} occurs twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> Any:
        """Construct an integer; a number in base 60 stays a text."""
        return node.value if ":" in node.value else super().construct_yaml_int(node)


RecipeLoader.add_constructor("tag:yaml.org,2002:int", RecipeLoader.construct_yaml_int)


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
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=RecipeLoader)  # noqa: S506 - it is a SafeLoader
    except OSError as err:
        raise RecipeError("the recipe cannot be read", path=str(path), reason=err.strerror) from err
    except RecursionError as err:
        raise RecipeError("the recipe is nested too deeply", path=str(path), expected="a few levels") from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise RecipeError("the recipe is not YAML", path=str(path), reason=" ".join(str(err).split())) from err
    if not isinstance(value, dict):
        raise RecipeError("the recipe is not a mapping", path=str(path), expected="keys and values")
    return value
