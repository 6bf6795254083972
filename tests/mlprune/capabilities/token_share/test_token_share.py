"""Shares of distinct tokens, compared with loops over the tokens of a set."""

from collections.abc import Iterator
from math import comb
from pathlib import Path

import numpy as np
import pytest

from mlprune.capabilities.token_share.capability import TokenSharesJob, expected_distinct
from mlprune.errors import RecipeError
from mlprune.planning import build_plan
from mlprune.recipe.loading import parse_recipe
from tests.refusals import refused
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe

MONOLINGUAL = {
    "name": "mono",
    "kind": "monolingual",
    "language": ["en", "sw"],
    "shots": 2,
    "samples": 4,
    "max_tokens": 48,
}


@pytest.fixture(scope="module")
def run(tiny_inputs: Path) -> Iterator[FinishedRun]:
    """A translation set and two monolingual sets whose tokens are counted."""
    recipe = {**small_recipe(), "variants": [], "evaluations": [], "analyses": {"token_share": ["mt", "mono", "mt"]}}
    recipe["demonstrations"] = [*recipe["demonstrations"], MONOLINGUAL]
    return finished_run(tiny_inputs, recipe, name="shares")


def test_tokens_of_each_side_are_counted_once_per_set(run: FinishedRun) -> None:
    jobs = [job for job in run.plan.jobs if isinstance(job, TokenSharesJob)]
    assert len(jobs) == len({job.demonstration_set_id for job in jobs}) == 3
    languages = set()
    for job in jobs:
        record = run.store.require("demonstration_sets", job.demonstration_set_id)
        columns = run.store.read_table(record.artefacts[0], ("token_ids", "sides"))
        found = {row["side"]: row for row in run.store.require(*job.identity.key).rows["token_shares"]}
        for number, side in ((1, "source"), (2, "target")):
            tokens = [
                token
                for ids, sides in zip(columns["token_ids"], columns["sides"], strict=True)
                for token, of_side in zip(ids, sides, strict=True)
                if of_side == number
            ]
            assert (side in found) == bool(tokens)
            if tokens:
                row = found[side]
                languages.add((side, row["language"]))
                assert (row["n_tokens"], row["n_distinct"]) == (len(tokens), len(set(tokens)))
                assert (row["distinct_of_1000"] is None) == (len(tokens) < 1000)
    assert languages == {("source", "en"), ("source", "sw"), ("source", "fr"), ("target", "en")}


@pytest.mark.parametrize("counts", [[1], [7], [1, 1, 1], [5, 1], [3, 2, 2, 1, 1, 1]])
def test_the_expected_number_of_distinct_tokens_is_that_of_all_draws(counts: list[int]) -> None:
    n_tokens = sum(counts)
    for n_drawn in range(1, n_tokens + 1):
        missing = [comb(n_tokens - count, n_drawn) / comb(n_tokens, n_drawn) for count in counts]
        expected = sum(1 - chance for chance in missing)
        assert expected_distinct(np.array(counts), n_drawn) == pytest.approx(expected, rel=1e-12)
    assert expected_distinct(np.array(counts), n_tokens + 1) is None


def test_a_set_that_is_not_there_is_refused_with_its_key(tiny_inputs: Path) -> None:
    recipe = {**small_recipe(), "analyses": {"token_share": ["mono"]}}
    with refused(RecipeError, key="analyses.token_share"):
        build_plan(parse_recipe(recipe, folder=tiny_inputs))
