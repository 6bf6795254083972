"""Recipes and parts of recipes on the pages are valid; names that a part refers to are filled in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlprune.recipe.combinations import HIDDEN
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import Recipe
from mlprune.yaml_files import YamlLoader
from tests.docs.pages import ROOT, blocks, pages

SECTIONS = set(Recipe.model_fields) - HIDDEN
WHOLE = {"name": "shown", "model": {"path": "model"}, "corpus": {"kind": "cldr"}}
SEARCH = {
    "base": {"score": "magnitude"},
    "levels": {"per": "block", "values": [0.4, 0.5, 0.6], "total": 0.5},
    "maximise": "accuracy(all)",
    "budget": {"variants": 8},
}
SHOWN = {
    f"{page.relative_to(ROOT)} {number}": block.text
    for page in pages()
    for number, block in enumerate(blocks(page))
    if block.words == "yaml" and "\nschedule:" not in block.text  # several choices of one key
}


def as_sections(value: Any) -> dict[str, Any]:
    """Return the sections in a block, or a list of entries as the section they belong to; empty for other blocks."""
    if isinstance(value, list):
        of_variants = any("score" in entry or "combine" in entry for entry in value)
        return {"variants" if of_variants else "demonstrations": value}
    return value if isinstance(value, dict) and set(value) <= SECTIONS else {}


def names(entries: list[Mapping[str, Any]], *keys: str) -> set[str]:
    """Return the names under some keys, whose values are a name or a list of names."""
    values = [entry[key] for entry in entries for key in keys if key in entry]
    return {name for value in values for name in (value if isinstance(value, list) else [value])}


def completed(sections: dict[str, Any]) -> dict[str, Any]:
    """Return a whole recipe, with sets and entries for the names that a part refers to."""
    recipe = {**WHOLE, **{name: value for name, value in sections.items() if name != "plugins"}}  # files of a reader
    sets, variants = list(recipe.get("demonstrations", [])), list(recipe.get("variants", []))
    baselines = recipe.get("baselines", [])
    derived = ("reconstruct", "recover", "quantise")
    fitted = [entry[key] for entry in variants for key in derived if isinstance(entry.get(key), dict)]
    missing = names([*variants, *baselines, *fitted], "demonstrations", "over", "contrast") | names(sets, "parts")
    known = {entry["name"] for entry in sets}
    sets += [{"name": name, "kind": "monolingual", "language": "en"} for name in sorted(missing - known)]
    questions = recipe.get("questions", [])
    analysed = [recipe.get("analyses", {}).get("layer_errors", {})]
    entries = names(variants, "against", "of") | names(questions, "variants", "against") | names(analysed, "variants")
    entries -= {entry.get("name") for entry in variants} | {entry["name"] for entry in baselines} | {"dense"}
    variants += [{"name": name, "score": "magnitude", "sparsity": 0.5} for name in sorted(entries)]
    asked = names(questions, "task") - names(recipe.get("evaluations", []), "task")
    evaluations = [
        *recipe.get("evaluations", []),
        *({"task": name, "path": "data", "languages": ["en", "fr"]} for name in sorted(asked)),
    ]
    schedules = [entry["schedule"] for entry in variants if isinstance(entry.get("schedule"), dict)]
    found = names([schedule for schedule in schedules if schedule.get("kind") == "search"], "from")
    searches = [*recipe.get("searches", []), *(SEARCH | {"name": name} for name in sorted(found))]
    if found:
        facts = {"task": "facts", "path": "data", "languages": ["en", "fr"]}
        evaluations += [facts | {"split": split} for split in ("dev", "test")]
    return {**recipe, "demonstrations": sets, "variants": variants, "evaluations": evaluations, "searches": searches}


def test_pages_show_recipes() -> None:
    shown = [text for text in SHOWN.values() if as_sections(yaml.load(text, YamlLoader))]
    assert len(shown) > 12


@pytest.mark.thorough("runs the commands of a page")
@pytest.mark.parametrize("name", SHOWN)
def test_a_recipe_on_a_page_is_accepted(name: str) -> None:
    if sections := as_sections(yaml.load(SHOWN[name], YamlLoader)):
        parse_recipe(completed(sections), folder=Path())
