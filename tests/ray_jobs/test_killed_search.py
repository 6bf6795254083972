"""A search whose driver is killed 20 times, and one on two Ray workers: the same files as in one uninterrupted run."""

import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from mlprune.store.store import Store
from tests.forked_runs import ForkedRun
from tests.mlprune.capabilities.search.played_search import search_recipe, write_more_facts
from tests.tiny_recipes import copied_inputs, results, write_recipe

pytestmark = pytest.mark.slow

N_KILLS = 20
MOST_RECORDS, MOST_SECONDS = 5, 0.2
"""A run is killed after at most as many new records, and at most so much later."""
LEVELS: dict[str, Any] = {
    "name": "levels",
    "base": {"score": "magnitude"},
    "levels": {"per": "block", "values": [0, 0.25, 0.5, 0.75]},
    "maximise": "outside_english - 0.1 * kept",
    "where": "english >= dense - 0.2",
    "method": "halving",
    "rungs": [4, 8],
    "budget": {"variants": 16},
    "compare": ["uniform", "random"],
}
SPARSITIES: dict[str, Any] = {
    "name": "sparsities",
    "base": {"score": "magnitude"},
    "space": {"sparsity": [0.2, 0.4, 0.6, 0.8], "structure": ["row", "matrix"]},
    "maximise": "worst",
    "method": "exhaustive",
    "batch": 3,
}


@pytest.fixture(scope="module")
def recipe_path(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied_inputs(tiny_inputs, tmp_path_factory.mktemp("killed"))
    write_more_facts(folder)
    return write_recipe(folder, search_recipe(LEVELS, SPARSITIES))


@pytest.fixture(scope="module")
def uninterrupted(recipe_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return finished(recipe_path, tmp_path_factory.mktemp("uninterrupted"))


def finished(recipe_path: Path, folder: Path, *, address: str = "none") -> Store:
    """Run the recipe to its end in a new store."""
    ForkedRun(recipe_path, folder / "store", log=folder / "log", address=address).finish()
    return Store(folder / "store")


def n_records(store: Path) -> int:
    return sum(1 for _ in (store / "records").glob("*/*.json"))


def test_a_search_that_is_killed_20_times_has_the_same_files(
    recipe_path: Path, uninterrupted: Store, tmp_path: Path
) -> None:
    generator = random.Random(0)
    store, expected, n_killed = tmp_path / "store", results(uninterrupted), 0
    while n_killed < N_KILLS:
        n_before = n_records(store)
        run = ForkedRun(recipe_path, store, log=tmp_path / "log")
        target = n_before + generator.randint(1, MOST_RECORDS)
        while run.is_running and n_records(store) < target:
            time.sleep(0.005)
        time.sleep(generator.random() * MOST_SECONDS)
        n_killed += run.is_running
        run.end()
        if n_records(store) == n_records(Path(uninterrupted.uri)):
            assert results(store) == expected
            shutil.rmtree(store)
    if store.exists():
        ForkedRun(recipe_path, store, log=tmp_path / "log").finish()
        assert results(store) == expected


def test_two_workers_of_ray_make_the_same_files(recipe_path: Path, uninterrupted: Store, tmp_path: Path) -> None:
    text = recipe_path.read_text(encoding="utf-8").replace("batch_tokens: 128", "batch_tokens: 128\n  replicas: 2")
    on_two = recipe_path.with_name("on-two.yaml")
    on_two.write_text(text, encoding="utf-8")
    assert results(finished(on_two, tmp_path, address="local")) == results(uninterrupted)


def test_two_runs_at_once_share_a_search(recipe_path: Path, uninterrupted: Store, tmp_path: Path) -> None:
    runs = [ForkedRun(recipe_path, tmp_path / "store", log=tmp_path / f"{number}.log") for number in range(2)]
    for run in runs:
        run.finish()
    assert results(tmp_path / "store") == results(uninterrupted)
