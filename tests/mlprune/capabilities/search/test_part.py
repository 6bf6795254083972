"""Searches in a plan: their batches, reports and variants with the levels of a winner, whatever order jobs run in."""

import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.search.strategy.space import Point
from mlprune.errors import RecipeError
from mlprune.planning import Plan, extend_plan, pending_jobs
from mlprune.steps.questions.declarations import declarations
from mlprune.store.store import Store
from tests.mlprune.capabilities.search.played_search import (
    N_DEV,
    KilledError,
    evaluations_of,
    play,
    search_plan,
    search_recipe,
    searched,
    trial_rows,
)
from tests.tiny_recipes import copied_inputs, copy_of, plan_of, results, write_recipe

LEVELS = (0.25, 0.75)
BLOCKS: dict[str, Any] = {
    "name": "blocks",
    "base": {"score": "magnitude"},
    "levels": {"per": "block", "values": list(LEVELS)},
    "maximise": "outside_english - 0.5 * kept",
    "where": "english >= dense - 0.25",
    "method": "exhaustive",
    "batch": 3,
}
POINTS = list(product(range(len(LEVELS)), repeat=3))


def share_of_right(point: Point | None, language: str) -> float:
    """Block 1 is harmless, and English suffers from the last block only."""
    if point is None:
        return 0.875
    return 0.875 - 0.5 * point[2] if language == "en" else 0.875 - 0.25 * point[0] - 0.125 * point[2]


def value_of(point: Point) -> float:
    kept = 1 - sum(LEVELS[level] for level in point) / len(point)
    return share_of_right(point, "fr") - 0.5 * kept


@pytest.fixture(scope="module")
def inputs(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_inputs(tiny_inputs, tmp_path_factory.mktemp("search"))


@pytest.fixture(scope="module")
def built(inputs: Path) -> Plan:
    return search_plan(inputs, BLOCKS)


@pytest.fixture(scope="module")
def finished(built: Plan, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store]:
    store = Store(tmp_path_factory.mktemp("searched"))
    return play(built, store, share_of_right), store


def test_a_search_evaluates_every_trial_and_reports_the_best_one_that_meets_the_constraints(
    finished: tuple[Plan, Store],
) -> None:
    plan, store = finished
    rows = trial_rows(store)
    assert [tuple(LEVELS.index(level) for level in row["point"].values()) for row in rows] == POINTS
    assert [row["objective"] for row in rows] == pytest.approx([value_of(point) for point in POINTS])
    assert [row["violation"] for row in rows] == pytest.approx([0.25 * point[2] for point in POINTS])
    assert [row["is_feasible"] for row in rows] == [point[2] == 0 for point in POINTS]
    assert [row["n_items_so_far"] for row in rows] == [2 * N_DEV * (n + 1) for n in range(len(POINTS))]
    best = max((point for point in POINTS if point[2] == 0), key=value_of)
    (record,) = store.records("searches")
    (result,) = record.rows["searches"]
    assert (result["number"], result["variant_id"]) == (POINTS.index(best), rows[POINTS.index(best)]["variant_id"])
    assert result["dev_value"] == pytest.approx(value_of(best))
    assert result["optimism"] == pytest.approx(0.0)  # as good on test as on dev, and dense, too
    assert [row["role"] for row in record.rows["search_finalists"]] == ["winner", "uniform"]
    assert [question.config.name for question in searched(plan).finals["blocks"].questions if question.config] == [
        "blocks-against-uniform"
    ]


def test_the_question_of_a_winner_is_primary_until_it_has_results_on_the_split_of_the_report(
    finished: tuple[Plan, Store], tmp_path: Path
) -> None:
    plan, store = finished[0], copy_of(finished[1], tmp_path / "store")
    asked = [question for question in searched(plan).finals["blocks"].questions if question.config]

    def declared() -> tuple[bool, int, object]:
        record = plan.report_record(searched(plan).finals["blocks"], declarations(asked, store, can_wait=False))
        (question,) = (row for row in record.rows["questions"] if row["is_declared"])
        (pair,) = record.rows["question_variants"]
        return question["is_primary"], question["declared_after"], pair.get("n_known_baselines")

    assert declared() == (False, 1, 1)
    ((winner, uniform),) = asked[0].pairs
    for variant_id, expected in ((winner, (True, 0, 1)), (uniform, (True, 0, None))):
        for record in list(store.records("evaluations")):
            (row,) = record.rows["evaluations"]
            if (row["variant_id"], row["split"]) == (variant_id, "test"):
                (Path(store.uri) / record.path).unlink()
        assert any(row["variant_id"] == winner for row in trial_rows(store)), "it has results on dev"
        assert declared() == expected


def test_a_finished_search_plans_nothing_more(built: Plan, finished: tuple[Plan, Store]) -> None:
    plan, store = finished
    assert extend_plan(plan, store).jobs == plan.jobs
    assert plan.made == {key for job in plan.jobs for key in job.makes}
    assert plan.made > built.made
    assert {job.step for job in pending_jobs(extend_plan(built, store).jobs, store)} == {"compare"}


@pytest.mark.thorough("computes many cases")
@pytest.mark.parametrize("n_jobs", [16, 32])
def test_a_search_that_is_killed_and_runs_in_any_order_has_the_same_files(
    built: Plan, finished: tuple[Plan, Store], tmp_path: Path, n_jobs: int
) -> None:
    store = Store(tmp_path)
    generator = random.Random(n_jobs)
    with pytest.raises(KilledError):
        play(built, store, share_of_right, choose=lambda ready: generator.randrange(len(ready)), n_jobs=n_jobs)
    play(built, store, share_of_right)
    assert results(store) == results(finished[1])


def test_a_lost_evaluation_of_an_evaluated_trial_is_made_again(
    built: Plan, finished: tuple[Plan, Store], tmp_path: Path
) -> None:
    store = copy_of(finished[1], tmp_path / "store")
    variant_id = trial_rows(store)[4]["variant_id"]
    (lost, *_) = (
        record for record in store.records("evaluations") if record.rows["evaluations"][0]["variant_id"] == variant_id
    )
    store.quarantine(lost)
    (job,) = (one for one in pending_jobs(extend_plan(built, store).jobs, store) if one.step != "compare")
    assert lost.id in {record_id for _, record_id in job.makes}


def test_searches_share_trials_but_count_their_own_items(inputs: Path, finished: tuple[Plan, Store]) -> None:
    plan, store = finished
    other = {**BLOCKS, "name": "other", "maximise": "worst", "batch": 8}
    both = search_plan(inputs, BLOCKS, other)
    missing = pending_jobs(extend_plan(both, store).jobs, store)
    assert [job.step for job in missing if job.step != "compare"] == ["search"]
    assert evaluations_of(both) <= evaluations_of(plan)


@pytest.mark.thorough("computes many cases")
def test_halving_evaluates_survivors_on_more_items_and_is_compared_with_a_random_search(
    inputs: Path, tmp_path: Path
) -> None:
    halving = {"method": {"kind": "halving", "eta": 4}, "rungs": [4], "budget": {"variants": 8}}
    store = Store(tmp_path)
    plan = play(search_plan(inputs, {**BLOCKS, **halving, "compare": ["random"]}), store, share_of_right)
    search, rival = searched(plan).searches
    rows = {key: [row for row in trial_rows(store) if row["search_id"] == key] for key in (search.id, rival.id)}
    first, second = ([row for row in rows[search.id] if row["rung"] == rung] for rung in (0, 1))
    assert [(row["item_limit"], row["n_new_items"]) for row in first] == [(4, 8)] * len(POINTS)
    assert [(row["item_limit"], row["n_new_items"]) for row in second] == [(None, 2 * N_DEV)] * 2
    assert {row["variant_id"] for row in second} < {row["variant_id"] for row in first}
    assert [row["number"] for row in second] == [8, 9]
    assert {row["status"] for row in first} == {"kept", "stopped"}
    assert {row["variant_id"] for row in rows[rival.id]} == {row["variant_id"] for row in first}
    (record,) = store.records("searches")
    (result,) = record.rows["searches"]
    assert (result["n_items"], result["n_items_if_all_were_scored"]) == (8 * 8 + 2 * 2 * N_DEV, 8 * 2 * N_DEV)
    assert {row["role"] for row in record.rows["search_finalists"]} == {"winner", "random"}


def test_a_winner_is_compared_with_other_schedules_of_its_sparsity(
    inputs: Path, finished: tuple[Plan, Store], tmp_path: Path
) -> None:
    store = copy_of(finished[1], tmp_path / "store")
    plan = play(search_plan(inputs, {**BLOCKS, "compare": ["alpha_pruning", "dlp"]}), store, share_of_right)
    earlier = finished[1].record_ids("searches")["searches"]
    record = next(one for one in store.records("searches") if one.id not in earlier)
    roles = {row["role"]: row["variant_id"] for row in record.rows["search_finalists"]}
    assert set(roles) == {"winner", "alpha_pruning"}  # dlp reads demonstrations, which magnitude has none of
    rows = {role: store.require("variants", key).rows["variants"][0] for role, key in roles.items()}
    assert rows["alpha_pruning"]["schedule"] == "alpha_pruning"
    assert rows["alpha_pruning"]["sparsity"] == rows["winner"]["sparsity"]
    assert [question.config.name for question in searched(plan).finals["blocks"].questions if question.config] == [
        "blocks-against-alpha_pruning"
    ]


def with_searched(inputs: Path, *entries: dict[str, Any], **changes: Any) -> Plan:
    """The plan of the finished search, and of entries with its winner's levels."""
    recipe = {**search_recipe({**BLOCKS, **changes}), "variants": list(entries)}
    return plan_of(write_recipe(inputs, recipe, name="searched.yaml"))


SEARCHED: dict[str, Any] = {"name": "again", "score": "random", "schedule": {"kind": "search", "from": "blocks"}}


def test_the_levels_of_a_winner_are_the_schedule_of_another_score(
    inputs: Path, built: Plan, finished: tuple[Plan, Store], tmp_path: Path
) -> None:
    plan = with_searched(inputs, SEARCHED)
    assert not any("again" in name for name in plan.names)
    assert searched(plan).searches[0].id == searched(built).searches[0].id
    store = copy_of(finished[1], tmp_path / "store")
    extended = play(plan, store, share_of_right)
    ((name, variant_id),) = searched(extended).finals["blocks schedule"].names
    assert name == "again"
    (result,) = next(iter(store.records("searches"))).rows["searches"]
    winner = store.require("variants", result["variant_id"]).rows["variants"][0]
    again = store.require("variants", variant_id).rows["variants"][0]
    assert (again["score"], winner["score"]) == ("random", "magnitude")
    same = ("sparsity", "schedule", "schedule_parameters", "scope")
    assert [again[key] for key in same] == [winner[key] for key in same]
    assert again["schedule"] == "given"
    evaluated = {
        record.rows["evaluations"][0]["split"]
        for record in store.records("evaluations")
        if record.rows["evaluations"][0]["variant_id"] == variant_id
    }
    assert evaluated == {"dev", "test"}
    assert extend_plan(extended, store).jobs == extended.jobs
    levels = dict(winner["schedule_parameters"]["blocks"])
    by_hand = {"score": "random", "sparsity": winner["sparsity"], "schedule": {"blocks": levels}}
    assert (
        variant_id in plan_of(write_recipe(inputs, {**search_recipe(), "variants": [by_hand]}, name="h.yaml")).variants
    )


def test_a_killed_run_resumes_with_the_variants_of_a_finished_search(
    inputs: Path, finished: tuple[Plan, Store], tmp_path: Path
) -> None:
    plan = with_searched(inputs, SEARCHED)
    stores = [copy_of(finished[1], tmp_path / name) for name in ("killed", "whole")]
    with pytest.raises(KilledError):
        play(plan, stores[0], share_of_right, n_jobs=2)
    for store in stores:
        play(plan, store, share_of_right)
    assert results(stores[0]) == results(stores[1])


def test_an_entry_with_another_sparsity_than_the_winner_is_refused(inputs: Path, finished: tuple[Plan, Store]) -> None:
    (result,) = next(iter(finished[1].records("searches"))).rows["searches"]
    total = finished[1].require("variants", result["variant_id"]).rows["variants"][0]["sparsity"]
    equal = extend_plan(with_searched(inputs, {**SEARCHED, "sparsity": total}), finished[1])
    assert (
        searched(equal).finals["blocks schedule"].names
        == searched(extend_plan(with_searched(inputs, SEARCHED), finished[1])).finals["blocks schedule"].names
    )
    with pytest.raises(RecipeError, match="another sparsity than the winner"):
        extend_plan(with_searched(inputs, {**SEARCHED, "sparsity": 0.125}), finished[1])


def test_without_a_winner_no_variant_gets_its_levels(inputs: Path, tmp_path: Path) -> None:
    plan = with_searched(inputs, SEARCHED, where="english >= 0.9")
    assert "blocks schedule" not in searched(play(plan, Store(tmp_path), share_of_right)).finals


def test_without_a_trial_that_meets_the_constraints_dense_is_reported(inputs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = play(search_plan(inputs, {**BLOCKS, "where": "english >= 0.9"}), store, share_of_right)
    (record,) = store.records("searches")
    (result,) = record.rows["searches"]
    assert (result["variant_id"], result["dev_value"], result["optimism"]) == (None, None, None)
    assert result["test_dense_value"] == pytest.approx(round(0.875 * 24) / 24 - 0.5)
    assert not record.rows["search_finalists"]
    assert not any(question.config for question in searched(plan).finals["blocks"].questions)
    assert not any(row["is_feasible"] for row in trial_rows(store))
