"""A question whose variants need masks before it can be declared: its run is killed before, between and after."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.store import Catalog
from mlprune.store.store import Store
from ray_jobs.driver import run_recipe as run_recipe_module
from ray_jobs.driver.run_recipe import run_recipe
from tests.catalog.query_answers import answers
from tests.forked_runs import ForkedRun, Gate
from tests.search_recipes import search_recipe
from tests.tiny_recipes import copied_inputs, copy_of, results, tiny_recipe, write_recipe

pytestmark = pytest.mark.thorough("starts runs of its own")

RANDOM: dict[str, Any] = {"name": "random", "score": "random", "seed": [0, 1]}
FACTS: dict[str, Any] = {"task": "facts", "path": "facts", "languages": ["fr"], "limit": 4}
QUESTION: dict[str, Any] = {"name": "q", "variants": "random", "task": "facts", "languages": "fr"}


class KilledError(BaseException):
    """The driver was killed."""


def write(inputs: Path, sparsity: float, *questions: dict[str, Any]) -> Path:
    sections = {"demonstrations": [], "variants": [{**RANDOM, "sparsity": sparsity}], "evaluations": [FACTS]}
    recipe = {**tiny_recipe(), **sections, "questions": list(questions)}
    return write_recipe(inputs, recipe, name=f"{sparsity}.yaml")


@pytest.fixture(scope="module")
def inputs(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_inputs(tiny_inputs, tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def looked_at(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with results of a sparsity of 0.5."""
    store = Store(tmp_path_factory.mktemp("looked") / "store")
    assert run_recipe(write(inputs, 0.5), store.uri, address="none").exit_code == 0
    return store


@pytest.fixture(scope="module")
def uninterrupted(inputs: Path, looked_at: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same after a run that asks about a sparsity with the same masks."""
    store = copy_of(looked_at, tmp_path_factory.mktemp("uninterrupted") / "store")
    assert run_recipe(write(inputs, 0.5001, QUESTION), store.uri, address="none").exit_code == 0
    return store


def verdicts(store: Store) -> list[str]:
    with Catalog.in_memory(store) as catalog:
        return [row["verdict"] for row in answers(catalog, "answers_to_questions", "all_answers=true")]


def n_evaluations(store: Store) -> int:
    return len(store.record_ids("evaluations")["evaluations"])


def test_a_run_declares_a_question_only_after_its_masks_were_compared(inputs: Path, uninterrupted: Store) -> None:
    assert verdicts(uninterrupted) == ["exploratory", "exploratory"]
    (row,) = (
        row
        for record in uninterrupted.records("recipes")
        for row in record.rows.get("questions", ())
        if row.get("awaits_masks")
    )
    assert row["is_primary"] is False


def test_a_question_about_other_masks_is_primary(inputs: Path, looked_at: Store, tmp_path: Path) -> None:
    store = copy_of(looked_at, tmp_path / "store")
    assert run_recipe(write(inputs, 0.25, QUESTION), store.uri, address="none").exit_code == 0
    assert set(verdicts(store)) <= {"yes", "no", "not shown", "cannot be asked"}


@pytest.mark.parametrize("step", ["prune", "evaluate"])
def test_a_run_that_is_killed_in_either_phase_makes_the_same_records(
    inputs: Path,
    looked_at: Store,
    uninterrupted: Store,
    start: Callable[..., ForkedRun],
    tmp_path: Path,
    step: str,
) -> None:
    store, path = copy_of(looked_at, tmp_path / "store"), write(inputs, 0.5001, QUESTION)
    gate = Gate.closed(tmp_path / "gate", step)
    killed = start(path, store.uri, gate=gate)
    killed.until(gate.waiting)
    killed.end()
    assert n_evaluations(store) == n_evaluations(looked_at)
    start(path, store.uri, stale_after_s=0.5).finish()
    assert results(store) == results(uninterrupted)


def test_a_run_that_is_killed_between_the_phases_makes_the_same_records(
    inputs: Path, looked_at: Store, uninterrupted: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path = copy_of(looked_at, tmp_path / "store"), write(inputs, 0.5001, QUESTION)
    wait_for = run_recipe_module.GrowingPlan.wait_for

    def kill(growing: run_recipe_module.GrowingPlan, variant_ids: frozenset[str]) -> None:
        if not variant_ids:
            raise KilledError
        wait_for(growing, variant_ids)

    with monkeypatch.context() as patch:
        patch.setattr(run_recipe_module.GrowingPlan, "wait_for", kill)
        with pytest.raises(KilledError):
            run_recipe(path, store.uri, address="none")
    assert n_evaluations(store) == n_evaluations(looked_at)
    assert run_recipe(path, store.uri, address="none").exit_code == 0
    assert results(store) == results(uninterrupted)


@pytest.mark.ray
def test_a_run_on_ray_makes_the_same_records(
    inputs: Path, looked_at: Store, uninterrupted: Store, start: Callable[..., ForkedRun], tmp_path: Path
) -> None:
    store = copy_of(looked_at, tmp_path / "store")
    start(write(inputs, 0.5001, QUESTION), store.uri, address="local").finish()
    assert results(store) == results(uninterrupted)


def test_the_winner_of_a_search_is_asked_about_before_it_is_evaluated_on_the_split_of_the_report(
    inputs: Path, tmp_path: Path
) -> None:
    recipe = search_recipe(compare=["uniform"], budget={"variants": 2})
    path, store = write_recipe(inputs, recipe, name="search.yaml"), Store(tmp_path / "store")
    assert run_recipe(path, store.uri, address="none").exit_code == 0
    with Catalog.in_memory(store) as catalog:
        found = {row["role"]: row for row in answers(catalog, "search_final")}
    assert found["uniform"]["verdict"] in ("yes", "no", "not shown"), found["uniform"]["verdict_reason"]
