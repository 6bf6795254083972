"""From a YAML file to a checked recipe, or to one line that says what is wrong with it.

An entry of `demonstrations` or `variants` may hold lists; it multiplies out before it is checked.
"""

import difflib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mlprune.errors import RecipeError
from mlprune.recipe.models import (
    BaseModelConfig,
    ComputeConfig,
    CorpusConfig,
    DemonstrationConfig,
    EvaluationConfig,
    Model,
    Recipe,
    VariantConfig,
)


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

LISTS_THAT_STAY = {"parts", "against"}
"""Keys whose value is a list by nature; every other list in an entry multiplies out."""


def expanded(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An entry with lists as all its combinations, the last key varying fastest; an empty list stays, to be refused."""
    keys = [key for key, value in entry.items() if isinstance(value, list) and value and key not in LISTS_THAT_STAY]
    combinations = itertools.product(*(entry[key] for key in keys))
    return [{**entry, **dict(zip(keys, combination, strict=True))} for combination in combinations]


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
    if "folder" in value:
        raise RecipeError(
            "unknown key", where=where, key="folder", expected=sorted(set(Recipe.model_fields) - {"folder"})
        )
    grown = dict(value)
    for section in ("demonstrations", "variants"):
        entries = grown.get(section)
        if isinstance(entries, list):
            _refuse_repeated_names(entries, section=section, where=where)
            grown[section] = [
                one for entry in entries for one in (expanded(entry) if isinstance(entry, dict) else [entry])
            ]
    try:
        return Recipe.model_validate({**grown, "folder": folder})
    except ValidationError as err:
        raise _first_error(err, where=where) from err


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
        known = _known_keys(first["loc"])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = {"nearest": near[0]} if near else {}
        return RecipeError("unknown key", where=where, key=location, expected=known, **hint, **more)
    got = first["input"] if isinstance(first["input"], (str, int, float, type(None))) else type(first["input"]).__name__
    return RecipeError(
        "the recipe is wrong", where=where, key=location or "recipe", expected=first["msg"], got=got, **more
    )


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys allowed at a place of the recipe."""
    models: dict[str, type[Model]] = {
        "model": BaseModelConfig,
        "corpus": CorpusConfig,
        "demonstrations": DemonstrationConfig,
        "variants": VariantConfig,
        "evaluations": EvaluationConfig,
        "compute": ComputeConfig,
    }
    model = models.get(str(location[0]), Recipe) if len(location) > 1 else Recipe
    return sorted(set(model.model_fields) - {"folder"})
