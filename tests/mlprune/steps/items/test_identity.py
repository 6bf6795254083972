"""Ids of stored items: equal for everything that is scored on the same items."""

from dataclasses import replace
from typing import Any

import pytest

from mlprune.steps.evaluate.protocol import ExampleSubset
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.items.identity import items_identity

XNLI = TaskSpec("xnli", "fr", "test", 5, 1, folder="xnli")
CONTENTS = {"items": "aa", "groups": "bb"}


@pytest.mark.parametrize(
    "change",
    [
        {"rule": "pmi"},
        {"metrics": ("ece",)},
        {"subset": ExampleSubset.of(["1"])},
        {"folder": "elsewhere"},
        {"longer": "skip"},
        {"shots": 3, "shot_seed": 2, "max_new_tokens": 9, "other_shots": True},
    ],
)
def test_scoring_does_not_change_the_items(change: dict[str, Any]) -> None:
    assert items_identity(replace(XNLI, **change), {**CONTENTS, "shots": "cc"}) == items_identity(XNLI, CONTENTS)


@pytest.mark.parametrize(
    "change",
    [
        {"language": "en"},
        {"split": "dev"},
        {"limit": 6},
        {"seed": 2},
        {"prompts": "native"},
        {"profile": "paper"},
        {"is_corpus_half": True},
    ],
)
def test_a_choice_of_items_or_prompts_does(change: dict[str, Any]) -> None:
    assert items_identity(replace(XNLI, **change), CONTENTS) != items_identity(XNLI, CONTENTS)


def test_contents_and_their_clusters_do_and_a_seed_without_a_limit_does_not() -> None:
    ids = {items_identity(XNLI, contents).id for contents in (CONTENTS, {"items": "aa"}, {**CONTENTS, "items": "dd"})}
    assert len(ids) == 3
    whole = replace(XNLI, limit=None)
    assert items_identity(whole, CONTENTS) == items_identity(replace(whole, seed=7), CONTENTS)
