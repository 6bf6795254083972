"""The page with every recipe key, made from the models that check recipes."""

from collections.abc import Iterable, Mapping

from infra.pages.fields import default_words, sentences, type_words
from infra.pages.page import capability_note, deprecation_note, page
from mlprune.capabilities.publishing.model_card import table
from mlprune.deprecation import Deprecated
from mlprune.methods.overview import COMBINATION_COLUMNS, COMBINATION_NOTES, combinations
from mlprune.recipe.combinations import HIDDEN, LIST_KEYS, SECTIONS
from mlprune.recipe.demonstrations import KINDS_OF_SETS, DemonstrationConfig
from mlprune.recipe.evaluations import KNOWN_TASKS, EvaluationConfig
from mlprune.recipe.models import Recipe
from mlprune.recipe.names import OfCapability, markers
from mlprune.recipe.variants import VariantConfig
from mlprune.strict_model import Model

LINKS: Mapping[type, str] = {model: f"[{name}](#{name})" for name, model in SECTIONS.items()}

OPENING = f"""
[recipe.md](../recipe.md) explains how the sections work together. An empty default means that the key is absent; the
effect is in parentheses. In an entry of `demonstrations` and `variants`, every key accepts a list of values, which
multiplies out, except {", ".join(f"`{key}`" for key in sorted(LIST_KEYS))}, which are lists by nature. `exclude`
removes combinations.
"""


def recipe_reference() -> str:
    """Return the whole page."""
    parts = [OPENING.strip(), "## The sections", _table(Recipe, hidden=HIDDEN)]
    for name, model in SECTIONS.items():
        parts += [f"## `{name}`", _first_line(model), _table(model)]
        if model is DemonstrationConfig:
            parts.append(_keys_by_kind())
        if model is VariantConfig:
            parts.append(_what_goes_together())
        if model is EvaluationConfig:
            parts.append(f"Built-in tasks: {', '.join(f'`{task}`' for task in KNOWN_TASKS)}.")
    return page("Recipe reference", parts, source="the models in `mlprune/recipe/`")


def _table(model: type[Model], hidden: Iterable[str] = ()) -> str:
    texts = sentences(model)
    rows = [
        (
            f"`{name}`",
            type_words(model, name, links=LINKS),
            default_words(model, name),
            texts[name] + _notes(model, name),
        )
        for name in model.model_fields
        if name not in hidden
    ]
    return table(("key", "type and range", "default", "meaning"), rows)


def _notes(model: type[Model], key: str) -> str:
    """Return the capability of a key, or of some of its values, and whether it is deprecated."""
    marks = markers(model, key, OfCapability)
    values = {
        mark: f" (for {', '.join(f'`{value}`' for value in mark.values)})" if mark.values else "" for mark in marks
    }
    notes = [capability_note(mark.name, values[mark]) for mark in marks]
    return "".join([*notes, *map(deprecation_note, markers(model, key, Deprecated))])


def _first_line(model: type[Model]) -> str:
    return (model.__doc__ or "").splitlines()[0]


def _keys_by_kind() -> str:
    """Return the table of keys of each kind of demonstration set."""
    rows = [
        (f"`{name}`", _keys(kind.needs), _keys(kind.may_take), _keys(kind.options))
        for name, kind in KINDS_OF_SETS.items()
    ]
    return "Keys of each kind (`pair` is short for `source` and `target`):\n\n" + table(
        ("kind", "required", "optional", "options"), rows
    )


def _what_goes_together() -> str:
    """Return the table of structures, schedules, refiners and aggregations of each score."""
    rows = [(f"`{row.score}`", *row.values[1:]) for row in combinations()]
    return "\n\n".join(["Each score goes with:", table(COMBINATION_COLUMNS, rows), *COMBINATION_NOTES])


def _keys(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
