"""From a YAML file to a checked recipe, or to one line that says what is wrong with it.

An entry of `demonstrations` or `variants` may hold lists; it multiplies out before it is checked.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mlprune.errors import RecipeError, unknown
from mlprune.recipe.base import UNKNOWN_NAME
from mlprune.recipe.models import Recipe
from mlprune.recipe.sections import HIDDEN, MULTIPLIED, keys_at


class _Loader(yaml.SafeLoader):
    """YAML in which a repeated key is an error and `2:4` is a text, not a number of base 60."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping of distinct keys."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} occurs twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> Any:
        """A whole number, but no base 60."""
        return node.value if ":" in node.value else super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)

LIST_KEYS = {"parts", "against", "over", "shares", "of"}
"""Keys whose value is a list by nature; every other list in an entry multiplies out."""


def expand_entry(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An entry with lists as all its combinations, the last key varying fastest; an empty list stays, to be refused.

    `exclude` is a list of mappings: a combination that agrees with all keys of one of them is left out.

    Raises:
        RecipeError: `exclude` is no such list, names what the entry has not, or leaves nothing or everything.
    """
    entry, exclude = dict(entry), entry.get("exclude")
    entry.pop("exclude", None)
    keys = [key for key, value in entry.items() if isinstance(value, list) and value and key not in LIST_KEYS]
    combinations = itertools.product(*(entry[key] for key in keys))
    grown = [{**entry, **dict(zip(keys, combination, strict=True))} for combination in combinations]
    return grown if exclude is None else _without(grown, exclude, entry=entry)


def _without(grown: list[dict[str, Any]], exclude: Any, *, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The combinations that no mapping of `exclude` agrees with."""
    wanted = [exclude] if isinstance(exclude, dict) else exclude
    if not isinstance(wanted, list) or not all(isinstance(one, dict) and one for one in wanted):
        raise RecipeError("exclude is no list of mappings", expected="[{score: random, sparsity: 0.5}]", got=exclude)
    left = grown
    for mapping in wanted:
        for key in mapping:
            if key not in entry:
                raise unknown("key in exclude: the entry does not have it", key, sorted(entry), error=RecipeError)
        remaining = [one for one in left if not all(_agrees(one[key], value) for key, value in mapping.items())]
        if len(remaining) == len(left):
            raise RecipeError("exclude removes nothing", got=mapping, n_combinations=len(left))
        left = remaining
    if not left:
        raise RecipeError("exclude removes every combination of an entry", got=exclude, n_combinations=len(grown))
    return left


def _agrees(value: Any, excluded: Any) -> bool:
    """Whether a combination's value is the excluded one, or one of the excluded ones."""
    return value == excluded or (isinstance(excluded, list) and value in excluded)


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: the file is missing, is no YAML, or says something we cannot do; the message is one line.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    except OSError as err:
        raise RecipeError("the recipe cannot be read", path=str(path), reason=err.strerror) from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise RecipeError("the recipe is not YAML", path=str(path), reason=" ".join(str(err).split())) from err
    if not isinstance(value, dict):
        raise RecipeError("the recipe is not a mapping", path=str(path), expected="keys and values")
    return parse_recipe(value, folder=path.parent, where=str(path))


def parse_recipe(value: Mapping[str, Any], *, folder: Path, where: str = "recipe") -> Recipe:
    """Check a recipe that is already a mapping; see `load_recipe`."""
    for key in HIDDEN & set(value):
        raise RecipeError("unknown key", where=where, key=key, expected=sorted(set(Recipe.model_fields) - HIDDEN))
    grown = dict(value)
    n_excluded = 0
    for section in MULTIPLIED:
        entries = grown.get(section)
        if isinstance(entries, list):
            _refuse_repeated_names(entries, section=section, where=where)
            multiplied = [_multiplied(entry, f"{section}.{i}", where=where) for i, entry in enumerate(entries)]
            grown[section] = [one for found, _ in multiplied for one in found]
            n_excluded += sum(n for _, n in multiplied) if section == "variants" else 0
    try:
        context = {"tasks": _own_tasks(grown.get("tasks"))}
        return Recipe.model_validate({**grown, "folder": folder, "n_excluded": n_excluded}, context=context)
    except ValidationError as err:
        raise _first_error(err, where=where) from err


def _own_tasks(section: Any) -> list[str]:
    """Names of the recipe's own tasks, as far as they can be read."""
    entries = section if isinstance(section, list) else []
    return [str(entry["name"]) for entry in entries if isinstance(entry, dict) and "name" in entry]


def _multiplied(entry: Any, key: str, *, where: str) -> tuple[list[Any], int]:
    """What an entry multiplies out to, and how many combinations its `exclude` left out."""
    if not isinstance(entry, dict):
        return [entry], 0
    try:
        combinations = expand_entry(entry)
        everything = expand_entry({name: value for name, value in entry.items() if name != "exclude"})
        return combinations, len(everything) - len(combinations)
    except RecipeError as err:
        raise RecipeError(err.message, err.context, where=where, key=key) from err


def _refuse_repeated_names(entries: list[Any], *, section: str, where: str) -> None:
    """A name belongs to one entry: what another entry says with it would be ambiguous."""
    names = [str(entry["name"]) for entry in entries if isinstance(entry, dict) and entry.get("name") is not None]
    for name in names:
        if names.count(name) > 1:
            expected = "a name for one entry, whose lists multiply"
            raise RecipeError("two entries have one name", where=where, key=section, expected=expected, got=name)


def _first_error(err: ValidationError, *, where: str) -> RecipeError:
    """The first complaint of pydantic as one line: what, where, expected, got."""
    first = err.errors(include_url=False)[0]
    location = ".".join(str(part) for part in first["loc"])
    more = {"more_errors": err.error_count() - 1} if err.error_count() > 1 else {}
    if first["type"] == "extra_forbidden":
        known = keys_at(first["loc"])
        return unknown("key", first["loc"][-1], known, error=RecipeError, where=where, key=location, **more)
    if first["type"] == UNKNOWN_NAME:
        context = first["ctx"]
        key = ".".join(filter(None, [location, context["key"]]))
        return unknown(
            context["what"], context["got"], context["known"], error=RecipeError, where=where, key=key, **more
        )
    got = first["input"] if isinstance(first["input"], (str, int, float, type(None))) else type(first["input"]).__name__
    return RecipeError(
        "the recipe is wrong", where=where, key=location or "recipe", expected=first["msg"], got=got, **more
    )
