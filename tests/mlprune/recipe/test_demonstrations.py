"""Demonstration sets of a recipe: valid and invalid entries."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlprune.errors import RecipeError
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.loading import parse_recipe

ENTRIES: dict[str, dict[str, Any]] = {
    "translation": {"source": "fr", "target": "en"},
    "monolingual": {"language": "fr"},
    "code": {"path": "src"},
    "mixed": {"parts": ["other"]},
    "text": {"path": "books"},
    "task": {"task": "xnli", "path": "xnli", "language": "fr"},
    "generated": {"language": "fr"},
}


def parsed(*entries: dict[str, Any]) -> tuple[DemonstrationConfig, ...]:
    recipe = {
        "name": "r",
        "model": {"path": "model"},
        "corpus": {"kind": "cldr"},
        "demonstrations": [{"name": "other", "kind": "code", "path": "src"}, *entries],
    }
    return parse_recipe(recipe, folder=Path()).demonstrations[1:]


def the_entry(kind: str, **changes: Any) -> DemonstrationConfig:
    (one,) = parsed({"name": "one", "kind": kind, **ENTRIES[kind], **changes})
    return one


def refused(*words: str, kind: str, **changes: Any) -> None:
    with pytest.raises(RecipeError) as caught:
        the_entry(kind, **changes)
    message = str(caught.value)
    for word in ("demonstrations.1", *words):
        assert word in message


@pytest.mark.parametrize(
    ("kind", "shots", "samples", "split"),
    [
        ("translation", 4, 100, None),
        ("monolingual", 4, 100, None),
        ("code", 4, 100, None),
        ("mixed", 4, None, None),
        ("text", 1, 100, None),
        ("task", 4, 100, "dev"),
    ],
)
def test_every_kind_has_its_defaults(kind: str, shots: int, samples: int | None, split: str | None) -> None:
    entry = the_entry(kind)
    assert (entry.shots, entry.samples, entry.split) == (shots, samples, split)
    assert (entry.max_tokens, entry.seed, entry.template, entry.token_budget) == (512, 0, None, None)


def test_given_keys_are_kept() -> None:
    assert (the_entry("text", shots=3, language="fra_Latn").shots, the_entry("task", split="test").split) == (3, "test")
    assert the_entry("text", language="fra_Latn").language == "fr"


@pytest.mark.parametrize("pair", ["fr-en", "fra_Latn-eng_Latn"])
def test_a_pair_sets_source_and_target(pair: str) -> None:
    (entry,) = parsed({"name": "one", "kind": "translation", "pair": pair})
    assert (entry.source, entry.target) == ("fr", "en")


def test_a_list_of_pairs_multiplies_out() -> None:
    entries = parsed({"name": "one", "kind": "translation", "pair": ["fr-en", "en-zh-Hant"], "seed": [0, 1]})
    result = [(entry.name, entry.source, entry.target, entry.seed) for entry in entries]
    assert result == [
        ("one", "fr", "en", 0),
        ("one", "fr", "en", 1),
        ("one", "en", "zh-Hant", 0),
        ("one", "en", "zh-Hant", 1),
    ]


def test_a_pair_is_instead_of_source_and_target() -> None:
    refused("pair replaces source and target", kind="translation", pair="fr-en")
    refused("kind monolingual needs ['language']", "'pair'", kind="monolingual", pair="fr-en")
    for pair, word in (("fr", "a pair such as fr-en"), ("fr-fra_Latn", "are both fr")):
        with pytest.raises(RecipeError, match=word):
            parsed({"name": "one", "kind": "translation", "pair": pair})


@pytest.mark.parametrize("kind", ENTRIES)
def test_every_kind_takes_only_its_own_keys(kind: str) -> None:
    for key, value in (("parts", ["other"]), ("source", "sw"), ("task", "xnli"), ("path", "x"), ("split", "dev")):
        if key not in ENTRIES[kind] and (kind, key) != ("task", "split"):
            refused(f"kind {kind} needs", f"'{key}'", kind=kind, **{key: value})
    for key in ENTRIES[kind]:
        refused(f"kind {kind} needs", f"'{key}'", kind=kind, **{key: [] if key == "parts" else None})


def test_source_and_target_differ() -> None:
    refused("both fr", kind="translation", target="fra_Latn")


def test_tasks_that_read_parallel_text_are_other_kinds_of_set() -> None:
    for task in ("translation", "perplexity"):
        refused(f"task {task} reads parallel text", kind="task", task=task)


@pytest.mark.parametrize(
    ("option", "value", "kinds"),
    [
        ("template", "{text}", {"translation", "monolingual", "text", "task", "generated"}),
        ("token_budget", 9, {"translation", "monolingual", "code", "text", "task"}),
        ("shares", "equal", {"mixed"}),
        ("prompt", "", {"generated"}),
        ("temperature", 0.5, {"generated"}),
    ],
)
def test_an_option_is_accepted_by_the_kinds_it_applies_to(option: str, value: Any, kinds: set[str]) -> None:
    for kind in ENTRIES:
        if kind in kinds:
            assert getattr(the_entry(kind, **{option: value}), option) == value
        else:
            refused(f"{option} does not apply to kind {kind}", kind=kind, **{option: value})


def test_a_token_budget_is_instead_of_samples() -> None:
    assert the_entry("translation", token_budget=4000).samples is None
    refused("use one of them", kind="translation", token_budget=4000, samples=9)
    refused("a number >= 1", kind="translation", token_budget=0)


def test_only_a_translation_set_can_be_without_pairs() -> None:
    assert the_entry("translation").paired
    assert not the_entry("translation", paired=False).paired
    refused("paired", "only to translation", kind="monolingual", paired=False)


def test_raw_activations_are_an_option_with_a_quota() -> None:
    for kind in ENTRIES:
        assert the_entry(kind).activations is None
    result = the_entry("translation", activations={"quota_gib": 0.5, "blocks": [0, 2], "inputs": ["fc1"]}).activations
    assert result is not None
    assert (result.quota_gib, result.blocks, result.inputs, result.samples) == (0.5, (0, 2), ("fc1",), None)
    assert result.dtype == "float32"
    half = the_entry("translation", activations={"quota_gib": 0.5, "dtype": "fp16"}).activations
    assert half is not None
    assert half.dtype == "float16"


def test_a_mixed_set_stores_no_activations() -> None:
    refused("activations does not apply to kind mixed", kind="mixed", activations={"quota_gib": 1})


def test_a_mixed_set_may_have_a_number_of_demonstrations() -> None:
    assert the_entry("mixed", samples=9, shares="equal").samples == 9


@pytest.mark.parametrize("share", [True, math.inf, 0, "0.5"])
def test_a_share_is_a_finite_number_above_0(share: object) -> None:
    refused("mapping of parts to numbers above 0", repr(share), kind="mixed", shares={"en": share})


def test_every_example_of_the_documentation_is_a_valid_entry() -> None:
    page = (Path(__file__).parents[3] / "docs" / "demonstrations.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    entries = [entry for block in blocks for entry in yaml.safe_load(block)]
    assert {entry["kind"] for entry in entries} == set(ENTRIES)
    result = parsed(*entries)
    assert len(result) > len(entries)
    assert sum(entry.name == "to-en" for entry in result) == 6
