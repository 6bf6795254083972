"""The sections of a recipe and of its entries, derived from the models that check them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from mlprune.recipe.base import Model
from mlprune.recipe.models import Recipe

HIDDEN = {"folder", "n_excluded"}
"""Fields of a recipe that `load_recipe` sets; a user cannot."""
MULTIPLIED = ("demonstrations", "variants")
"""Sections whose entries multiply out: a key of an entry may have a list of values."""


def model_of(model: type[Model], key: str) -> type[Model] | None:
    """The model of a section inside another one, or None if the key is not a section."""
    field = model.model_fields.get(key)
    return next(_models_in(field.annotation), None) if field is not None else None


def keys_at(location: Sequence[int | str]) -> list[str]:
    """The keys that are allowed next to a key of a recipe, sorted.

    Args:
        location: path to the key from the top of the recipe, with indices of lists.
    """
    model: type[Model] = Recipe
    *sections, _ = location
    for part in sections:
        model = model_of(model, str(part)) or model
    is_entry = len(location) == 3 and location[0] in MULTIPLIED
    return sorted({*model.model_fields, *(["exclude"] if is_entry else [])} - HIDDEN)


def _models_in(annotation: object) -> Iterator[type[Model]]:
    """The section models inside a type such as `tuple[VariantConfig, ...]` or `ActivationsConfig | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _sections(model: type[Model]) -> Iterator[tuple[str, type[Model]]]:
    """Sections with those inside them, in the order of their fields."""
    for key in model.model_fields:
        section = model_of(model, key)
        if section is not None:
            yield key, section
            yield from _sections(section)


SECTIONS: Mapping[str, type[Model]] = dict(_sections(Recipe))
"""Key -> model of every section, in the order of a recipe. Sections inside an entry follow the entry's section."""
