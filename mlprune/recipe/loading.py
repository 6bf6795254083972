"""Load a recipe: read its file, expand the lists of entries, and check everything."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mlprune.errors import PluginError, RecipeError, repeated, unknown
from mlprune.methods.plugins import provide_file
from mlprune.recipe.combinations import (
    HIDDEN,
    MULTIPLIED,
    Entry,
    expand_entry,
    keys_at,
    require_few,
    require_few_combinations,
)
from mlprune.recipe.models import Recipe
from mlprune.recipe.names import warn_of_deprecated_keys
from mlprune.strict_model import RECIPE_ERROR, UNKNOWN_NAME
from mlprune.yaml_files import read_yaml

BASE = "base"
"""Key with the name of a file in the same folder, whose sections the recipe takes unless it has its own."""
PLUGINS = "plugins"
"""Key of a recipe with the files."""
ALLOW_PLUGINS = "--allow-plugins"
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


def provide_plugins(files: object, *, folder: Path, allowed: Sequence[Path], where: str) -> None:
    """Let this process use the plug-in files of a recipe.

    Args:
        files: value of the key; relative paths start at the recipe's folder.
        allowed: files on the command line.
        where: the recipe, for messages.
    Raises:
        RecipeError: a file is not allowed, or cannot be read.
    """
    if not isinstance(files, list | tuple) or not all(isinstance(name, str) and name for name in files):
        raise RecipeError("plugins is not a list of files", where=where, expected="plugins: [my_score.py]", got=files)
    resolved = {path.expanduser().resolve() for path in allowed}
    for name in files:
        path = (folder / name).resolve()
        if path not in resolved:
            message = "the recipe names a plug-in file that the command line does not allow"
            raise RecipeError(message, where=where, key=PLUGINS, got=name, next=f"read it, then {ALLOW_PLUGINS} {path}")
        try:
            provide_file(path)
        except PluginError as err:
            raise RecipeError(err.message, err.context, where=where, key=PLUGINS) from err


def first_error(err: ValidationError, *, where: str) -> RecipeError:
    """Return the first error as one line.

    Args:
        where: the recipe, for the message.
    """
    first = err.errors(include_url=False)[0]
    is_unknown_key = first["type"] == "extra_forbidden"
    location = ".".join(map(str, first["loc"]) if is_unknown_key else _keys_of(first["loc"]))
    more: dict[str, Any] = {"more_errors": err.error_count() - 1} if err.error_count() > 1 else {}
    if is_unknown_key:
        known = keys_at(first["loc"])
        return unknown("key", first["loc"][-1], known, error=RecipeError, where=where, key=location, **more)
    if first["type"] == UNKNOWN_NAME:
        context = first["ctx"]
        key = ".".join(filter(None, [location, context["key"]]))
        return unknown(
            context["what"], context["got"], context["known"], error=RecipeError, where=where, key=key, **more
        )
    if first["type"] == RECIPE_ERROR:
        return RecipeError(
            first["ctx"]["message"], where=where, key=location or "recipe", **first["ctx"]["context"], **more
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
    warn_of_deprecated_keys(recipe)
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
