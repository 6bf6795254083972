"""Load a recipe: read YAML, expand the lists of entries, check everything, and report the first error in one line."""

import itertools
import re
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mlprune.errors import RecipeError, unknown
from mlprune.recipe.base import UNKNOWN_NAME
from mlprune.recipe.models import Recipe
from mlprune.recipe.sections import HIDDEN, MULTIPLIED, keys_at

Entry = Mapping[str, Any]
"""An entry of a section as YAML has it."""


class _Loader(yaml.SafeLoader):
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


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)

_UNION_MEMBER = re.compile(r"(constrained|function)-.+|float|int|str|bool")
MAX_SHOWN_CHARACTERS = 80
"""Characters of a wrong text that a message repeats."""
YAML_BOOLEANS = "YAML reads no, off, yes and on as false or true, so write them in quotes"
_OPENING = re.compile(r"^\w+ should (be|have) ")
"""Opening of pydantic's messages."""
_EXPECTED: Mapping[str, str] = {
    "greater_than": "a number > {gt:g}",
    "greater_than_equal": "a number >= {ge:g}",
    "less_than": "a number < {lt:g}",
    "less_than_equal": "a number <= {le:g}",
    "finite_number": "a finite number",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "literal_error": "{expected}",
    "string_too_short": "a text of at least {min_length} characters",
    "string_too_long": "a text of at most {max_length} characters",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "too_short": "a list of at least {min_length} values",
    "too_long": "a list of at most {max_length} values",
}
"""Type of an error of pydantic -> the expected value, with the error's context filled in."""

BASE = "base"
"""Key with the name of a file in the same folder, whose sections the recipe takes unless it has its own."""

LIST_KEYS = {"parts", "against", "over", "shares", "of"}
"""Keys whose value is always a list. A list under any other key of an entry multiplies out."""


MAX_COMBINATIONS = 10_000
"""Most combinations of the lists in an entry; planning a combination takes about a millisecond."""


def expand_entry(entry: Entry) -> list[Entry]:
    """All combinations of the lists in an entry. The last key varies fastest; an empty list stays and is refused later.

    `exclude` is a list of mappings. A combination that agrees with all keys of one mapping is left out.

    Raises:
        RecipeError: there are too many combinations; or `exclude` is not a list of mappings, has a key that the entry
            does not have, or removes no combination or all of them.
    """
    exclude = entry.get("exclude")
    entry = {key: value for key, value in entry.items() if key != "exclude"}
    keys = [key for key, value in entry.items() if isinstance(value, list) and value and key not in LIST_KEYS]
    n_combinations = prod(len(entry[key]) for key in keys)
    if n_combinations > MAX_COMBINATIONS:
        lengths = {key: len(entry[key]) for key in keys}
        message = "the lists of an entry have too many combinations; split the recipe"
        raise RecipeError(message, expected=f"at most {MAX_COMBINATIONS}", got=n_combinations, lengths=lengths)
    combinations = itertools.product(*(entry[key] for key in keys))
    expanded: list[Entry] = [{**entry, **dict(zip(keys, combination, strict=True))} for combination in combinations]
    return expanded if exclude is None else _without(expanded, exclude, entry=entry)


def _without(expanded: list[Entry], exclude: object, *, entry: Entry) -> list[Entry]:
    """The combinations that agree with no mapping of `exclude`."""
    mappings = [exclude] if isinstance(exclude, dict) else exclude
    if not isinstance(mappings, list) or not all(isinstance(mapping, dict) and mapping for mapping in mappings):
        expected = "[{score: random, sparsity: 0.5}]"
        raise RecipeError("exclude is not a list of mappings", expected=expected, got=exclude)
    kept = expanded
    for mapping in mappings:
        for key in mapping:
            if key not in entry:
                raise unknown("key in exclude: the entry does not have it", key, sorted(entry), error=RecipeError)
        remaining = [
            combination
            for combination in kept
            if not all(_agrees(combination[key], value) for key, value in mapping.items())
        ]
        if len(remaining) == len(kept):
            raise RecipeError("exclude removes nothing", got=mapping, n_combinations=len(kept))
        kept = remaining
    if not kept:
        raise RecipeError("exclude removes every combination of an entry", got=exclude, n_combinations=len(expanded))
    return kept


def _agrees(value: object, excluded: object) -> bool:
    """Whether a value of a combination is the excluded value, or in the list of excluded values."""
    return value == excluded or (isinstance(excluded, list) and value in excluded)


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: the file is missing, is not YAML, or is not a valid recipe; the message is one line.
    """
    value = read_recipe_file(path)
    return parse_recipe(value, folder=path.parent, where=str(path))


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
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    except OSError as err:
        raise RecipeError("the recipe cannot be read", path=str(path), reason=err.strerror) from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise RecipeError("the recipe is not YAML", path=str(path), reason=" ".join(str(err).split())) from err
    if not isinstance(value, dict):
        raise RecipeError("the recipe is not a mapping", path=str(path), expected="keys and values")
    return value


def parse_recipe(value: Entry, *, folder: Path, where: str = "recipe") -> Recipe:
    """Check a recipe that is a mapping; see `load_recipe`."""
    for key in HIDDEN & set(value):
        raise RecipeError("unknown key", where=where, key=key, expected=sorted(set(Recipe.model_fields) - HIDDEN))
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
        return Recipe.model_validate({**filled, "folder": folder, "n_excluded": n_excluded}, context=context)
    except ValidationError as err:
        raise _first_error(err, where=where) from err


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
    for name in names:
        if names.count(name) > 1:
            expected = "a name for one entry, whose lists multiply"
            raise RecipeError("two entries have the same name", where=where, key=section, expected=expected, got=name)


def _first_error(err: ValidationError, *, where: str) -> RecipeError:
    """The first error of pydantic as one line: what, where, expected, got."""
    first = err.errors(include_url=False)[0]
    is_unknown_key = first["type"] == "extra_forbidden"
    location = ".".join(map(str, first["loc"]) if is_unknown_key else _keys_of(first["loc"]))
    more = {"more_errors": err.error_count() - 1} if err.error_count() > 1 else {}
    if is_unknown_key:
        known = keys_at(first["loc"])
        return unknown("key", first["loc"][-1], known, error=RecipeError, where=where, key=location, **more)
    if first["type"] == UNKNOWN_NAME:
        context = first["ctx"]
        key = ".".join(filter(None, [location, context["key"]]))
        return unknown(
            context["what"], context["got"], context["known"], error=RecipeError, where=where, key=key, **more
        )
    if first["type"] == "missing":
        return RecipeError("a key is missing", where=where, key=location, **more)
    is_plain = isinstance(first["input"], (str, int, float, type(None)))
    value = first["input"][:MAX_SHOWN_CHARACTERS] if isinstance(first["input"], str) else first["input"]
    got = {"got": value if is_plain else type(value).__name__}
    if first["type"] == "value_error":
        message, expected = str(first["ctx"]["error"]), {}
        got = got if is_plain and str(first["input"]) not in message else {}
    else:
        message, expected = "the recipe is invalid", {"expected": _expected(first)}
    return RecipeError(message, where=where, key=location or "recipe", **expected, **got, **more)


def _keys_of(location: Sequence[int | str]) -> list[str]:
    """The keys and indices of a location of pydantic, without the types of a union that pydantic appends."""
    parts = [str(part) for part in location]
    while parts and _UNION_MEMBER.fullmatch(parts[-1]):
        parts.pop()
    return parts


def _expected(error: ErrorDetails) -> str:
    """The value that a check of pydantic expects."""
    if error["type"] == "string_type" and isinstance(error["input"], bool):
        return f"a text; {YAML_BOOLEANS}"
    text = _EXPECTED.get(error["type"])
    return _OPENING.sub("", error["msg"]) if text is None else text.format(**error.get("ctx", {}))
