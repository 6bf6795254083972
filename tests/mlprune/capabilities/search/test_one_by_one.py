"""Removal one by one in a plan: its trials, its winner, the order of evaluations, and what is refused."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.search.part import Searches
from mlprune.capabilities.search.strategy.space import Point
from mlprune.errors import MlpruneError, RecipeError
from mlprune.planning import Plan, extend_plan, pending_jobs
from mlprune.steps.evaluate.variants_without_blocks import EvaluateWithoutBlocksJob
from mlprune.store.store import Store
from tests.mlprune.capabilities.search.played_search import (
    KilledError,
    play,
    search_plan,
    search_recipe,
    searched,
    trial_rows,
)
from tests.refusals import refused
from tests.tiny_recipes import copied_inputs, copy_of, plan_of, results, write_recipe

DEPTH: dict[str, Any] = {"name": "depth", "base": {"structure": "blocks"}, "maximise": "fr", "method": "one_by_one"}
LOSS = {"en": (0.125, 0.0, 0.5), "fr": (0.25, 0.125, 0.125)}
"""Language -> share of right answers that the removal of each block costs."""


def share_of_right(point: Point | None, language: str) -> float:
    return 0.875 - sum(loss * flag for loss, flag in zip(LOSS[language], point or (), strict=False))


@pytest.fixture(scope="module")
def inputs(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_inputs(tiny_inputs, tmp_path_factory.mktemp("one-by-one"))


@pytest.fixture(scope="module")
def built(inputs: Path) -> Plan:
    return search_plan(inputs, DEPTH)


@pytest.fixture(scope="module")
def finished(built: Plan, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store]:
    store = Store(tmp_path_factory.mktemp("removed"))
    return play(built, store, share_of_right), store


def played(inputs: Path, store: Path, **changes: Any) -> tuple[Searches, Sequence[dict[str, Any]], dict[str, Any]]:
    """The searches, the rows of their trials, and the row of the result."""
    plan = play(search_plan(inputs, {**DEPTH, **changes}), Store(store), share_of_right)
    (record,) = Store(store).records("searches")
    (result,) = record.rows["searches"]
    return searched(plan), trial_rows(Store(store)), dict(result)


def removed(row: dict[str, Any]) -> list[int]:
    return [int(block) for block, level in row["point"].items() if level]


def test_each_round_tries_every_remaining_block_and_keeps_the_best_and_of_equal_ones_the_lower(
    finished: tuple[Plan, Store],
) -> None:
    rows = trial_rows(finished[1])
    assert [(row["batch"], removed(row), row["parent"]) for row in rows] == [
        (0, [0], None),
        (0, [1], None),
        (0, [2], None),
        (1, [0, 1], 1),
        (1, [1, 2], 1),
    ]
    assert [row["number"] for row in rows if row["status"] == "kept"] == [1, 4]
    assert [row["objective"] for row in rows] == pytest.approx([0.625, 0.75, 0.75, 0.5, 0.625])
    assert [row["p_worse"] is None for row in rows] == [False, True, False, False, True]


def test_the_winner_lacks_as_many_blocks_as_asked_although_the_dense_model_is_better(
    inputs: Path, finished: tuple[Plan, Store], tmp_path: Path
) -> None:
    (record,) = finished[1].records("searches")
    assert record.rows["searches"][0]["number"] == 4
    assert [row["role"] for row in record.rows["search_finalists"]] == ["winner"]
    part, rows, result = played(inputs, tmp_path, method={"kind": "one_by_one", "units": 1})
    assert (len(rows), result["number"], result["method_parameters"]) == (3, 1, {"units": 1})
    assert not list(part.warnings())


def test_trials_are_the_variants_of_entries_written_by_hand(inputs: Path, finished: tuple[Plan, Store]) -> None:
    entry = {"score": "given", "scope": {"blocks": [1, 2]}}
    plan = plan_of(write_recipe(inputs, {**search_recipe(), "variants": [entry]}, name="hand.yaml"))
    last = trial_rows(finished[1])[-1]
    assert last["variant_id"] in plan.variants
    row = finished[1].require("variants", last["variant_id"]).rows["variants"][0]
    assert row["removed_blocks"] == [1, 2]


def test_a_constraint_stops_blocks_that_cost_too_much_and_ends_the_search_with_its_name(
    inputs: Path, tmp_path: Path
) -> None:
    bounds = ["english >= dense - 0.1", "fr >= dense - 0.5"]
    part, rows, result = played(inputs, tmp_path, where=bounds)
    assert [row["status"] for row in rows] == ["stopped", "kept", "stopped", "stopped", "stopped"]
    assert [row["reason"] for row in rows if removed(row) == [0]] == [f"misses {bounds[0]}"]
    assert {tuple(row["missed"]) for row in rows} == {(), (bounds[0],)}
    assert (result["number"], result["variant_id"]) == (1, rows[1]["variant_id"])
    (warning,) = part.warnings()
    assert warning == f"search depth ends with 1 unit removed: no further trial meets {bounds[0]}"
    assert part.states[0].best == 1


def test_a_constraint_that_nothing_meets_leaves_no_winner(inputs: Path, tmp_path: Path) -> None:
    part, rows, result = played(inputs, tmp_path, where="fr >= dense")
    assert (len(rows), result["variant_id"]) == (3, None)
    (warning,) = part.warnings()
    assert warning.endswith("no winner: none of its best trials meets fr >= dense")


@pytest.mark.parametrize(
    ("budget", "n_trials"), [({"variants": 3}, 3), ({"variants": 4}, 3), ({"variants": 5}, 5), ({"items": 96}, 3)]
)
def test_a_budget_allows_whole_rounds_only(inputs: Path, tmp_path: Path, budget: dict[str, int], n_trials: int) -> None:
    part, rows, _ = played(inputs, tmp_path, budget=budget)
    assert len(rows) == part.states[0].most_trials == n_trials
    assert not list(part.warnings())


def test_only_blocks_of_the_scope_are_tried(inputs: Path, tmp_path: Path) -> None:
    _, rows, _ = played(inputs, tmp_path, base={"structure": "blocks", "scope": {"without_blocks": [1]}})
    assert [removed(row) for row in rows] == [[0], [2]]


@pytest.mark.thorough("plays many runs")
@pytest.mark.parametrize("n_jobs", range(2, 14, 3))
def test_a_killed_search_goes_on_with_the_same_trials_in_any_order(
    built: Plan, finished: tuple[Plan, Store], tmp_path: Path, n_jobs: int
) -> None:
    store, generator = Store(tmp_path), random.Random(n_jobs)
    with pytest.raises(KilledError):
        play(built, store, share_of_right, choose=lambda ready: generator.randrange(len(ready)), n_jobs=n_jobs)
    play(built, store, share_of_right)
    assert results(store) == results(finished[1])


def test_one_job_evaluates_a_round_without_what_is_in_the_store(
    built: Plan, finished: tuple[Plan, Store], tmp_path: Path
) -> None:
    def evaluated(store: Store) -> list[Sequence[str]]:
        jobs = pending_jobs(extend_plan(built, store).jobs, store)
        return [job.variant_ids for job in jobs if isinstance(job, EvaluateWithoutBlocksJob)]

    first = trial_rows(finished[1])[:3]
    assert [set(ids) for ids in evaluated(Store(tmp_path))] == [{row["variant_id"] for row in first}]
    store = copy_of(finished[1], tmp_path / "store")
    assert not evaluated(store)
    for record in list(store.records("evaluations")):
        if record.rows["evaluations"][0]["variant_id"] == first[1]["variant_id"]:
            store.quarantine(record)
    assert [first[1]["variant_id"] in ids for ids in evaluated(store)] == [True]


def error_of(inputs: Path, **changes: Any) -> MlpruneError:
    with refused(RecipeError) as caught:
        search_plan(inputs, {**DEPTH, **changes})
    return caught.value


@pytest.mark.parametrize(
    ("changes", "context"),
    [
        ({"method": {"kind": "one_by_one", "units": 3}}, {"expected": "at most 2 of 3 units", "got": 3}),
        ({"base": {"structure": "blocks", "scope": {"blocks": [1]}}}, {"expected": "at most 0 of 1 units"}),
        ({"base": {"structure": "blocks", "scope": {"blocks": [7]}}}, {"got": 7}),
        ({"base": {"structure": "row"}}, {"expected": ["blocks"], "got": "row"}),
        ({"budget": {"variants": 2}}, {"expected": "at least 3 trials, one for every unit"}),
        ({"maximise": "de"}, {"expected": ["en", "fr"]}),
        ({"method": {"kind": "one_by_one", "units": -1}}, {"got": -1}),
    ],
)
def test_what_cannot_be_removed_or_measured_is_named(
    inputs: Path, changes: dict[str, Any], context: dict[str, Any]
) -> None:
    error = error_of(inputs, **changes)
    assert {name: error.context.get(name) for name in context} == context


@pytest.mark.parametrize(
    "changes",
    [
        {"base": {}},
        {"base": {"structure": "blocks", "score": "random"}},
        {"levels": {"values": [0.25, 0.5]}},
        {"space": {"seed": [0, 1]}},
        {"compare": "uniform"},
        {"rungs": [4]},
        {"base": {"structure": "blocks", "scope": {"layers": ["fc1"]}}},
    ],
)
def test_keys_that_mean_nothing_for_removal_are_refused(inputs: Path, changes: dict[str, Any]) -> None:
    assert error_of(inputs, **changes)
