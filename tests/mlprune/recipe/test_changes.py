"""Recipes with fewer demonstrations and items, or with another base model."""

from pathlib import Path
from typing import Any

from mlprune.recipe.changes import shrink, with_model
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import Recipe

RECIPE: dict[str, Any] = {
    "name": "r",
    "model": {"path": "big", "revision": "v2", "dtype": "bfloat16"},
    "corpus": {"kind": "cldr"},
    "demonstrations": [
        {"name": "mt", "kind": "translation", "pair": ["fr-en", "sw-en"], "shots": 4},
        {"name": "few", "kind": "monolingual", "language": "fr", "shots": 1, "samples": 2, "max_tokens": 64},
        {"name": "budget", "kind": "monolingual", "language": "sw", "token_budget": 5000},
        {"name": "all", "kind": "mixed", "parts": ["mt", "few"]},
        {"name": "some", "kind": "mixed", "parts": ["mt", "few"], "samples": 150},
        {"name": "three", "kind": "mixed", "parts": ["mt", "few"], "samples": 3},
    ],
    "variants": [{"demonstrations": "mt", "score": "wanda", "sparsity": [0.1, 0.3], "samples": [2, 50]}],
    "baselines": [
        {"name": "lrp2", "kind": "lrp2", "demonstrations": "few"},
        {"name": "small", "kind": "model", "path": "small"},
        {"name": "translated", "kind": "self_translate"},
    ],
    "evaluations": [
        {"task": "facts", "path": "corpus", "languages": ["en", "fr"]},
        {"task": "facts", "path": "corpus", "languages": ["en", "fr"], "limit": 2},
        {"task": "translation", "path": "corpus", "pairs": ["fr-en"], "limit": 200},
    ],
}


def recipe() -> Recipe:
    return parse_recipe(RECIPE, folder=Path("/there"))


def test_every_size_is_at_most_n_and_smaller_ones_stay() -> None:
    small = shrink(recipe(), 3)
    assert small.name == "r (shrink 3)"
    sizes = [(entry.name, entry.samples, entry.shots, entry.token_budget) for entry in small.demonstrations]
    assert sizes[:4] == [("mt", 3, 3, None), ("mt", 3, 3, None), ("few", 2, 1, None), ("budget", 3, 3, None)]
    assert [entry.samples for entry in small.demonstrations[4:]] == [None, None, 3]
    assert [entry.samples for entry in small.variants] == [2, 3, 2, 3]
    assert [entry.limit for entry in small.baselines] == [3, None, None]
    assert [entry.shots for entry in small.baselines if entry.kind == "self_translate"] == [3]
    assert [(entry.limit, entry.shots) for entry in small.evaluations] == [(3, 3), (2, 3), (3, 3)]


def test_raw_activations_of_a_smaller_set_are_stored_for_its_demonstrations() -> None:
    stored = {"quota_gib": 1.0, "samples": 20}
    entry = {"name": "fr", "kind": "monolingual", "language": "fr", "activations": stored}
    small = shrink(
        parse_recipe({**RECIPE, "demonstrations": [entry], "variants": [], "baselines": []}, folder=Path()), 4
    )
    activations = small.demonstrations[0].activations
    assert activations is not None
    assert (activations.samples, activations.quota_gib) == (4, 1.0)


def test_all_other_choices_stay() -> None:
    small, full = shrink(recipe(), 3), recipe()
    assert small.model == full.model
    assert [entry.sparsity for entry in small.variants] == [entry.sparsity for entry in full.variants]
    assert [entry.languages for entry in small.evaluations] == [entry.languages for entry in full.evaluations]
    assert small.folder == full.folder


def test_another_model_keeps_the_dtype_and_truncates_demonstrations_to_its_positions() -> None:
    other = with_model(recipe(), "/models/tiny", label="tiny", max_positions=256)
    assert other.name == "r (model tiny)"
    assert (other.model.path, other.model.revision, other.model.dtype) == ("/models/tiny", "main", "bfloat16")
    assert {entry.max_tokens for entry in other.demonstrations} == {256, 64}
    unlimited = with_model(recipe(), "/models/tiny", label="tiny", max_positions=None)
    assert unlimited.demonstrations == recipe().demonstrations


def test_a_search_has_fewer_variants_rungs_below_n_and_samples_of_the_smaller_set() -> None:
    base = {"demonstrations": "one", "propagation": "dense"}
    space = {"score": ["wanda", "ria"], "samples": [2, 50, 90]}
    searches = [
        {"name": "a", "base": {**base, "sparsity": 0.5}, "space": space, "budget": {"items": 9000}},
        {"name": "b", "base": {**base, "score": "wanda", "samples": 9}, "space": {"sparsity": [0.5]}}
        | {"budget": {"variants": 2}},
    ]
    evaluations = [
        {"task": "facts", "path": "corpus", "languages": ["fr"], "split": split} for split in ("dev", "test")
    ]
    full = {**RECIPE, "searches": [{**one, "maximise": "fr"} for one in searches], "evaluations": evaluations}
    full["demonstrations"] = [
        {"name": "one", "kind": "translation", "pair": "fr-en", "shots": 4},
        *RECIPE["demonstrations"],
    ]
    full["sensitivity"] = [{"name": "s", "base": {**base, "score": "wanda", "samples": 9}, "sparsity": 0.5}]
    parsed = parse_recipe(full, folder=Path())
    parsed = parsed.model_copy(
        update={"searches": tuple(one.model_copy(update={"rungs": (2, 4)}) for one in parsed.searches)}
    )
    small = shrink(parsed, 3)
    assert [(one.budget.variants, one.budget.items) for one in small.searches if one.budget] == [(3, None), (2, None)]
    assert [one.rungs for one in small.searches] == [(2,), (2,)]
    assert small.searches[0].space == {"score": ("wanda", "ria"), "samples": (2, 3)}
    assert [one.base["samples"] for one in (small.searches[1], *small.sensitivity)] == [3, 3]
