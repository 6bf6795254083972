"""A whole run of a search on the tiny model, in this process."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from catalog.check import check
from catalog.store import Catalog
from mlprune.plan import extend_plan
from mlprune.steps.prune.sweep import SweepJob
from mlprune.store.store import Store
from ray_jobs.cli.status_text import format_search
from ray_jobs.driver.growing_plan import GrowingPlan, expected_jobs
from ray_jobs.driver.result_lines import result_lines
from ray_jobs.driver.run_recipe import run_recipe
from ray_jobs.driver.run_state import RunSummary
from ray_jobs.driver.status.run_status import store_status
from ray_jobs.driver.status.search_state import SearchState
from tests.catalog.query_answers import answers
from tests.mlprune.steps.search.played_search import search_recipe, trial_rows, write_more_facts
from tests.search_recipes import BASE
from tests.search_recipes import search_recipe as search_of_blocks
from tests.tiny_recipes import copied_inputs, copy_of, plan_of, results, write_recipe

SPARSITIES: dict[str, Any] = {
    "name": "sparsities",
    "base": {"score": "magnitude"},
    "space": {"sparsity": [0.25, 0.5, 0.75]},
    "maximise": "outside_english - 0.1 * kept",
    "where": ["english >= dense - 0.01"],
    "method": "exhaustive",
    "batch": 2,
}


@pytest.fixture(scope="module")
def recipe_path(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied_inputs(tiny_inputs, tmp_path_factory.mktemp("search"))
    write_more_facts(folder)
    return write_recipe(folder, search_recipe(SPARSITIES))


@pytest.fixture(scope="module")
def done(recipe_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunSummary, Store]:
    store = Store(tmp_path_factory.mktemp("searched"))
    return run_recipe(recipe_path, store.uri, address="none"), store


def accuracy(store: Store, variant_id: str, language: str, *, split: str = "dev") -> float:
    """Share of items whose right candidate has the highest mean log-probability, from the files alone."""
    (record,) = (
        record
        for record in store.records("evaluations")
        for row in record.rows["evaluations"]
        if (row["variant_id"], row["language"], row["split"]) == (variant_id, language, split)
    )
    scores: dict[str, list[tuple[float, bool]]] = {}
    for row in pq.read_table(Path(store.uri) / record.artefacts[0].path).to_pylist():
        scores.setdefault(row["example_id"], []).append((row["log_likelihood"] / row["n_tokens"], row["is_gold"]))
    return sum(max(of_item, key=lambda pair: pair[0])[1] for of_item in scores.values()) / len(scores)


def test_objectives_and_constraints_are_those_of_the_predictions(done: tuple[RunSummary, Store]) -> None:
    summary, store = done
    assert summary.exit_code == 0
    rows = trial_rows(store)
    assert [row["point"] for row in rows] == [{"sparsity": sparsity} for sparsity in (0.25, 0.5, 0.75)]
    (dense,) = {record.id for record in store.records("variants")} - {row["variant_id"] for row in rows}
    for row in rows:
        kept = 1 - store.require("variants", row["variant_id"]).rows["variants"][0]["achieved_sparsity"]
        assert row["objective"] == pytest.approx(accuracy(store, row["variant_id"], "fr") - 0.1 * kept)
        lost = accuracy(store, dense, "en") - 0.01 - accuracy(store, row["variant_id"], "en")
        assert row["violation"] == pytest.approx(max(0.0, lost))
    best = max(rows, key=lambda row: (-row["violation"], row["objective"]))
    (record,) = store.records("searches")
    (result,) = record.rows["searches"]
    if best["violation"] == 0:
        assert result["variant_id"] == best["variant_id"]
        on_test = accuracy(store, best["variant_id"], "fr", split="test") - 0.1 * (1 - best["point"]["sparsity"])
        assert result["test_value"] == pytest.approx(on_test, abs=0.01)


def test_a_finished_search_is_sound_and_has_nothing_to_do(recipe_path: Path, done: tuple[RunSummary, Store]) -> None:
    store = done[1]
    assert check(store)[0] == []
    assert run_recipe(recipe_path, store.uri, address="none").did_nothing
    with Catalog.open(store) as catalog:
        named = catalog.query(
            "SELECT count(*) AS n FROM search_trials JOIN names ON search_id = id WHERE name = 'sparsities'"
        )
    assert named == [{"n": 3}]


def test_damaged_masks_of_an_earlier_trial_are_made_again(
    recipe_path: Path, done: tuple[RunSummary, Store], tmp_path: Path
) -> None:
    store = copy_of(done[1], tmp_path / "store")
    expected = results(store)
    for masks in (Path(store.uri) / "masks").glob("*/*.parquet"):
        masks.write_bytes(masks.read_bytes()[::-1])
    for record in store.records("evaluations"):
        store.quarantine(record)
    assert run_recipe(recipe_path, store.uri, address="none").exit_code == 0
    assert results(store) == expected


def test_the_status_of_a_run_has_the_trials_items_and_best_trial_of_its_searches(
    done: tuple[RunSummary, Store],
) -> None:
    _, store = done
    rows = trial_rows(store)
    (run,) = store_status(store)
    (search,) = run.searches
    best = max(rows, key=lambda row: (-row["violation"], row["objective"], -row["number"]))
    assert search == SearchState(
        "sparsities", 3, 3, rows[-1]["n_items_so_far"], rows[-1]["n_items_so_far"], 1, 1, None, best["number"],
        best["objective"], is_feasible=best["is_feasible"], is_finished=True,
    )  # fmt: skip


def test_the_state_of_searches_is_computed_once_for_each_plan(recipe_path: Path, tmp_path: Path) -> None:
    growing = GrowingPlan(plan_of(recipe_path), Store(tmp_path))
    states = growing.search_states
    assert growing.search_states is states
    growing.plan_again()
    assert growing.search_states == states
    assert growing.search_states is not states


def test_the_pool_has_room_for_the_variants_with_the_levels_of_a_winner(tiny_inputs: Path, tmp_path: Path) -> None:
    entry = {**BASE, "name": "swept", "propagation": "sequential", "schedule": {"kind": "search", "from": "blocks"}}
    path = write_recipe(tiny_inputs, {**search_of_blocks(), "variants": [entry]}, name="later.yaml")
    plan = extend_plan(plan_of(path), Store(tmp_path))
    assert not any(isinstance(job, SweepJob) for job in plan.jobs)
    expected = expected_jobs(plan, plan.jobs)
    assert [type(job) for job in expected if isinstance(job, SweepJob)] == [SweepJob]
    without = extend_plan(plan_of(write_recipe(tiny_inputs, search_of_blocks(), name="later.yaml")), Store(tmp_path))
    assert expected_jobs(without, without.jobs) == []


def test_a_search_without_a_winner_is_named_at_the_end_of_the_run_in_the_status_and_in_its_report(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    impossible = search_recipe({**SPARSITIES, "where": ["english >= 2"]})
    path = write_recipe(recipe_path.parent, impossible, name="impossible.yaml")
    store = Store(tmp_path)
    for _ in range(2):  # the second run has nothing to do
        assert run_recipe(path, store.uri, address="none").exit_code == 0
        assert "sparsities has no winner" in capsys.readouterr().err
    assert len(result_lines(extend_plan(plan_of(path), store), store)) == 1
    (state,) = store_status(store)[0].searches
    assert format_search(state).endswith("no winner")
    with Catalog.in_memory(store) as opened:
        (row,) = answers(opened, "search_final")
    assert (row["name"], row["role"], row["variant_id"]) == ("sparsities", "no winner", None)


def test_a_search_with_a_winner_has_no_line(recipe_path: Path, done: tuple[RunSummary, Store]) -> None:
    _, store = done
    (record,) = store.records("searches")
    has_winner = record.rows["searches"][0]["variant_id"] is not None
    lines = result_lines(extend_plan(plan_of(recipe_path), store), store)
    assert (lines == []) == has_winner
