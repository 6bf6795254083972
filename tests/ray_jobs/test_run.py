"""The entry points of processes that run jobs, and a recipe with data of a hub."""

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ray_jobs
from mlprune.evaluation.tasks.hub_datasets import pinned
from mlprune.steps.tasks.evaluation import _prepared_task, _task_data
from ray_jobs import run
from tests.command_line import Done
from tests.hub import Hub, json_lines, serving, use_hub
from tests.tiny_recipes import copied_inputs, tiny_recipe, write_recipe


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        (["r.yaml", "--store", "/s"], ["--address", "auto"]),
        (["r.yaml", "--store", "/s", "--address", "none"], []),
        (["r.yaml", "--store", "/s", "--address=none"], []),
    ],
)
def test_a_job_runs_on_its_own_cluster_by_default(arguments: list[str], added: list[str]) -> None:
    assert run.command(arguments) == ["mlprune", "run", *arguments, *added]


def ending(code: int) -> Callable[[], None]:
    """A command line that ends with an exit code."""

    def main() -> None:
        sys.exit(code)

    return main


@pytest.mark.parametrize("code", [0, 2, 3, 143])
def test_exit_codes_are_kept(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_jobs.cli.application.main", ending(code))
    monkeypatch.setattr(sys, "argv", ["ray_jobs/run.py", "r.yaml", "--store", "/s"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == code


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("3", "3")])
def test_matrix_products_use_one_thread_unless_the_user_sets_another_number(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", before or "1")
    if before is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    importlib.reload(ray_jobs)
    assert os.environ["OPENBLAS_NUM_THREADS"] == after


RECIPE = {
    **tiny_recipe(),
    "demonstrations": [],
    "variants": [{"name": "random", "score": "random", "sparsity": 0.5}],
    "evaluations": [{"task": "belebele", "path": "hub:facebook/belebele", "languages": ["en", "sw"]}],
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    for cached in (pinned, _task_data, _prepared_task):
        cached.cache_clear()
    with serving() as served:
        use_hub(monkeypatch, served.url, tmp_path / "cache")
        yield served


@pytest.fixture
def recipe(tiny_inputs: Path, tmp_path: Path) -> Path:
    return write_recipe(copied_inputs(tiny_inputs, tmp_path / "inputs"), RECIPE)


def question(n: int) -> dict[str, object]:
    answers = {f"mc_answer{number}": "abcd"[number - 1] for number in range(1, 5)}
    fields = {
        "link": "w",
        "question_number": n,
        "flores_passage": "p",
        "question": f"{n}",
        "correct_answer_num": n % 4 + 1,
    }
    return {**fields, **answers}


@pytest.mark.thorough("starts runs or workers of its own")
def test_a_data_set_is_fetched_evaluated_and_recorded_with_its_commit(
    hub: Hub, recipe: Path, tmp_path: Path, here: Callable[..., Done]
) -> None:
    rows = [question(n) for n in range(6)]
    files = {"data/eng_Latn.jsonl": json_lines(rows), "data/swh_Latn.jsonl": json_lines(rows[::-1])}
    commit = hub.push("facebook/belebele", files)
    store = tmp_path / "store"
    assert here("run", recipe, "--store", store, "--address", "none").code == 0
    assert sorted(hub.fetched()) == ["data/eng_Latn.jsonl", "data/swh_Latn.jsonl"]
    sql = "SELECT language, n_examples FROM evaluations GROUP BY ALL ORDER BY language"
    rows_by_language = json.loads(here("query", sql, "--store", store, "--format", "json").out)
    assert [(row["language"], row["n_examples"]) for row in rows_by_language] == [("en", 6), ("sw", 6)]
    sql = "SELECT name, id FROM names WHERE kind = 'data_set'"
    (named,) = json.loads(here("query", sql, "--store", store, "--format", "json").out)
    assert (named["name"], named["id"]) == ("facebook/belebele@main", commit)
    n_pairs = "SELECT count(*) AS n FROM rank_consistency WHERE n_items = 6"
    assert json.loads(here("query", n_pairs, "--store", store, "--format", "json").out) == [{"n": 2}]


def test_an_unreachable_hub_is_one_line_and_exit_code_2_and_nothing_is_written(
    hub: Hub, recipe: Path, tmp_path: Path, here: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "other-cache")
    store = tmp_path / "store"
    done = here("run", recipe, "--store", store, "--address", "none")
    assert (done.code, done.out) == (2, "")
    assert len(done.err.strip().splitlines()) == 1
    for word in ("facebook/belebele", "Connection refused"):
        assert word in done.err
    assert not (store / "records").exists()
