"""Values of a recipe that a command line sets: `evaluations.0.limit=50`."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mlprune.errors import RecipeError
from mlprune.yaml_files import parse_yaml

OPTION = "--set"


def with_settings(content: Mapping[Any, Any], settings: Sequence[str]) -> dict[Any, Any]:
    """Return the content of a recipe with other values.

    A path has keys of mappings and positions in lists, counted from 0. A section that the recipe lacks is created.

    Args:
        content: the recipe before its lists are multiplied out.
        settings: `path=value`, the value in YAML.
    Raises:
        RecipeError: a setting has another form, its value is not YAML, or its path leads through no mapping or list.
    """
    changed: dict[Any, Any] = copy.deepcopy(dict(content))
    for setting in settings:
        path, has_value, text = setting.partition("=")
        if not has_value or not path:
            raise RecipeError("not a setting", option=OPTION, expected="key=value", got=setting)
        try:
            value = parse_yaml(text)
        except ValueError as err:
            raise RecipeError("the value is not YAML", option=OPTION, got=setting, reason=str(err)) from err
        *parents, last = path.split(".")
        target: Any = changed
        for depth, key in enumerate(parents):
            place = _place(target, key, where=".".join(parents[:depth]), setting=setting)
            if isinstance(target, dict) and target.get(place) is None:
                target[place] = {}
            target = target[place]
        target[_place(target, last, where=".".join(parents), setting=setting)] = value
    return changed


def _place(target: object, key: str, *, where: str, setting: str) -> Any:
    """Return the key or the position of a part of a path.

    Raises:
        RecipeError: there is none.
    """
    if isinstance(target, dict) and key:
        return key
    if not isinstance(target, list):
        message, expected = "a path leads through a value without parts", "a mapping or a list"
    elif key.isdecimal() and int(key) < len(target):
        return int(key)
    else:
        message, expected = "a path has no such position", f"0 to {len(target) - 1}" if target else "an entry"
    raise RecipeError(message, option=OPTION, key=where or "recipe", expected=expected, got=setting)
