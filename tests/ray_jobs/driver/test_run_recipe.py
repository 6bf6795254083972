"""Runs of recipes, changed recipes and checks of capacity."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from catalog.check import check
from catalog.store import Catalog
from mlprune.errors import BadInputError, ModelError
from mlprune.models import metadata_cache
from mlprune.planning import build_plan, extend_plan
from mlprune.planning.resources.estimate import Needs, needs_of
from mlprune.planning.resources.node_capacity import GIB, Gpu, Node, format_pool
from mlprune.recipe.loading import load_recipe
from mlprune.steps.job import JobCost
from mlprune.steps.prune.sweep import SweepJob
from mlprune.store.run_log_entries import SearchState
from mlprune.store.run_status import StatusReader
from mlprune.store.store import Store
from ray_jobs.driver import capacity_checks
from ray_jobs.driver import run_recipe as run_recipe_module
from ray_jobs.driver.capacity_checks import in_process_pool, local_ray_pool, require_room
from ray_jobs.driver.changed_recipe import DEMO_MODEL, NO_CHANGES, RecipeChanges, load_changed_recipe, recipe_text
from ray_jobs.driver.run_recipe import GrowingPlan, expected_jobs, result_lines, run_recipe
from ray_jobs.driver.run_state import RunSummary
from ray_jobs.workers import in_process
from ray_jobs.workers.node_resources import n_cpus
from ray_jobs.workers.run_metrics import NO_METRICS, Metrics
from tests.catalog.query_answers import answers
from tests.earlier_versions import to_version_4
from tests.mlprune.capabilities.search.played_search import search_recipe, trial_rows, write_more_facts
from tests.refusals import refused
from tests.run_entries import entries
from tests.search_recipes import BASE
from tests.search_recipes import search_recipe as search_of_blocks
from tests.tiny_recipes import FinishedRun, copied_inputs, copy_of, plan_of, results, small_recipe, write_recipe

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


@pytest.mark.thorough("starts runs or workers of its own")
def test_a_finished_search_is_sound_and_has_nothing_to_do(recipe_path: Path, done: tuple[RunSummary, Store]) -> None:
    store = done[1]
    assert check(store)[0] == []
    assert run_recipe(recipe_path, store.uri, address="none").did_nothing
    with Catalog.open(store) as catalog:
        named = catalog.query(
            "SELECT count(*) AS n FROM search_trials JOIN names ON search_id = id WHERE name = 'sparsities'"
        )
    assert named == [{"n": 3}]


@pytest.mark.thorough("starts runs or workers of its own")
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
    (run,) = StatusReader(store).read()
    (search,) = run.searches
    best = max(rows, key=lambda row: (-row["violation"], row["objective"], -row["number"]))
    assert search == SearchState(
        "sparsities", 3, 3, rows[-1]["n_items_so_far"], rows[-1]["n_items_so_far"], 1, 1, None, best["number"],
        best["objective"], is_feasible=best["is_feasible"], is_finished=True,
    )  # fmt: skip


def test_the_state_of_searches_is_computed_once_for_each_plan(recipe_path: Path, tmp_path: Path) -> None:
    growing = GrowingPlan(plan_of(recipe_path), Store(tmp_path))
    states = growing.search_states
    (state,) = growing.search_states
    assert state is states[0]
    growing.plan_again()
    assert growing.search_states == states
    assert growing.search_states[0] is not state


@pytest.mark.thorough("starts runs or workers of its own")
def test_jobs_that_another_run_finishes_between_plan_and_start_are_not_done_again(
    small_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, finished = tmp_path / "store", Path(small_run.store.uri)

    def finish_another_run(*arguments: Any, **options: Any) -> Metrics:
        """Called after the jobs were planned and before they start: the other run has then made all records."""
        shutil.copytree(
            finished, store, dirs_exist_ok=True, ignore=shutil.ignore_patterns("catalog*", "runs", "claims")
        )
        return NO_METRICS

    monkeypatch.setattr(run_recipe_module, "open_metrics", finish_another_run)
    summary = run_recipe(small_run.recipe_path, str(store), address="none")
    n_jobs = len(small_run.plan.jobs)
    assert (summary.exit_code, summary.n_done, summary.n_elsewhere) == (0, n_jobs, n_jobs)
    assert entries(store, "job") == []


def test_planned_variants_have_labels(recipe_path: Path, tmp_path: Path) -> None:
    growing = GrowingPlan(plan_of(recipe_path), Store(tmp_path))
    for variant_id, variant in growing.plan.variants.items():
        assert growing.label_of(variant_id) == variant.label
    assert growing.label_of("another id") is None


def test_the_pool_has_room_for_the_variants_with_the_levels_of_a_winner(tiny_inputs: Path, tmp_path: Path) -> None:
    entry = {**BASE, "name": "swept", "propagation": "sequential", "schedule": {"kind": "search", "from": "blocks"}}
    path = write_recipe(tiny_inputs, {**search_of_blocks(), "variants": [entry]}, name="later.yaml")
    plan = extend_plan(plan_of(path), Store(tmp_path))
    assert not any(isinstance(job, SweepJob) for job in plan.jobs)
    expected = expected_jobs(plan, plan.jobs)
    assert [type(job) for job in expected if isinstance(job, SweepJob)] == [SweepJob]
    without = extend_plan(plan_of(write_recipe(tiny_inputs, search_of_blocks(), name="later.yaml")), Store(tmp_path))
    assert expected_jobs(without, without.jobs) == []


@pytest.mark.thorough("starts runs or workers of its own")
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
    (state,) = StatusReader(store).read()[0].searches
    assert state.describe().endswith("no winner")
    with Catalog.in_memory(store) as opened:
        (row,) = answers(opened, "search_final")
    assert (row["name"], row["role"], row["variant_id"]) == ("sparsities", "no winner", None)


def test_a_search_with_a_winner_has_no_line(recipe_path: Path, done: tuple[RunSummary, Store]) -> None:
    _, store = done
    (record,) = store.records("searches")
    has_winner = record.rows["searches"][0]["variant_id"] is not None
    lines = result_lines(extend_plan(plan_of(recipe_path), store), store)
    assert (lines == []) == has_winner


ROOT = Path(__file__).parents[3]
LOADED = """
import sys
from ray_jobs.cli import main
sys.argv = ["mlprune", *sys.argv[1:]]
try:
    main()
finally:
    print("loaded:", sorted({"torch", "transformers", "accelerate", "ray"} & set(sys.modules)), file=sys.stderr)
"""


def loaded(*arguments: object) -> str:
    """stderr of a command, with the large libraries that it loaded."""
    command = [sys.executable, "-c", LOADED, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=900)
    return done.stderr


@pytest.fixture(scope="module")
def store_path(small_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A copy of a finished store, in which a catalog may be created."""
    return copy_of(small_run.store, tmp_path_factory.mktemp("running") / "store").uri


@pytest.mark.thorough("starts runs or workers of its own")
def test_a_finished_recipe_loads_neither_ray_nor_the_code_of_its_model(
    small_run: FinishedRun, store_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_cache, "SETTLED_S", -3600.0)  # the model was made just now
    build_plan(load_recipe(small_run.recipe_path))
    stderr = loaded("run", small_run.recipe_path, "--store", store_path, "--address", "local")
    assert "nothing to do" in stderr
    assert f"next: mlprune query values_by_variant --store {store_path}\n" in stderr
    assert f"      mlprune report --store {store_path} --out report.html\n" in stderr
    assert "loaded: ['torch']" in stderr


@pytest.mark.thorough("starts runs or workers of its own")
def test_a_query_loads_none_of_them(store_path: str) -> None:
    assert "loaded: []" in loaded("query", "failures", "--store", store_path)


@pytest.mark.thorough("starts runs or workers of its own")
def test_an_import_without_a_hub_ends_before_the_code_of_models_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    stderr = loaded("import", "facebook/xglm-564M", "--out", tmp_path / "out")
    assert "cannot be reached" in stderr
    assert "loaded: []" in stderr


@pytest.mark.thorough("starts runs or workers of its own")
def test_a_run_whose_only_worker_has_a_broken_device_ends_with_code_3_and_its_reason(
    own_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: object, **__: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(in_process, "load_model", load)
    summary = run_recipe(write_recipe(own_inputs, small_recipe()), str(tmp_path / "store"), address="none")
    assert (summary.exit_code, summary.n_failed, summary.next_commands) == (3, 0, ())
    assert summary.n_skipped > 0
    assert "illegal memory access" in capsys.readouterr().err


def test_a_run_plans_no_model_for_the_evaluations_that_it_adopts(
    small_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[Needs] = []

    def refuse(needs: Needs, store: Store) -> None:
        planned.append(needs)
        raise BadInputError("the disk is full")

    store = copy_of(small_run.store, tmp_path / "store")
    to_version_4(store)
    monkeypatch.setattr("ray_jobs.driver.run_recipe.require_room", refuse)
    with pytest.raises(BadInputError):
        run_recipe(small_run.recipe_path, store.uri, address="none")
    (needs,) = planned
    assert "evaluate" in {cost.step for cost in needs.costs}
    assert not any(cost.runs_model or cost.flops for cost in needs.costs)


@pytest.fixture(scope="module")
def needs(tiny_inputs: Path) -> Needs:
    plan = plan_of(write_recipe(tiny_inputs, small_recipe(), name="fitting.yaml"))
    return needs_of(plan, plan.jobs)


def with_compute(needs: Needs, **compute: object) -> Needs:
    return replace(needs, compute=needs.compute.model_copy(update=compute))


def test_this_process_is_one_worker_with_one_shard_regardless_of_the_recipe(needs: Needs) -> None:
    pool = in_process_pool(with_compute(needs, replicas=5, shards=3))
    assert (pool.n_workers, pool.n_shards, pool.threads) == (1, 1, n_cpus())


def test_this_process_uses_the_memory_of_the_recipe(needs: Needs) -> None:
    assert in_process_pool(with_compute(needs, memory_gib_per_actor=2.0)).memory_bytes == 2 * GIB
    with pytest.raises(BadInputError, match="memory_gib_per_actor"):
        in_process_pool(with_compute(needs, memory_gib_per_actor=0.2))


def test_this_process_uses_its_accelerators_unless_the_recipe_says_cpu(
    needs: Needs, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu = replace(needs, model=replace(needs.model, device="cuda"))
    with pytest.raises(BadInputError, match="device: cpu"):
        in_process_pool(with_compute(on_gpu, device="cuda"))
    machine = Node(4.0, 64 * GIB, (Gpu(8 * GIB),) * 2)
    monkeypatch.setattr(capacity_checks, "local_node", lambda: machine)
    assert in_process_pool(with_compute(on_gpu, device="cuda")).n_gpus == 2
    assert in_process_pool(with_compute(needs, device="cpu")).n_gpus == 0


def test_a_local_ray_uses_replicas_and_shards_of_the_recipe(needs: Needs) -> None:
    pool = local_ray_pool(with_compute(needs, replicas=1, shards=2))
    assert (pool.n_workers, pool.n_shards) == (1, 2)


def test_a_run_whose_results_do_not_fit_on_the_disk_is_refused(needs: Needs, tmp_path: Path) -> None:
    require_room(needs, Store(tmp_path / "store"))
    huge = replace(needs, costs=(JobCost("observe", disk_bytes=2.0**70),))
    with pytest.raises(BadInputError, match="free"):
        require_room(huge, Store(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_small_amounts_of_disk_space_are_shown_in_fitting_units(
    needs: Needs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray_jobs.driver.capacity_checks.free_disk_bytes", lambda _: 2**20)
    small = replace(needs, costs=(JobCost("observe", disk_bytes=2.5 * 2**20),))
    with refused(BadInputError, expected="2.5 MiB", got="1.0 MiB free"):
        require_room(small, Store(tmp_path / "store"))


def test_the_text_of_a_pool_has_replicas_shards_threads_and_gpus(needs: Needs) -> None:
    two = with_compute(needs, replicas=2, shards=1).pool([Node(4.0, 64 * GIB)])
    assert format_pool(two).startswith("2 replicas of 1 shard; each actor has 2 threads, 0.")
    cut = with_compute(needs, replicas=1, shards=3).pool([Node(3.0, 64 * GIB, (Gpu(GIB),) * 3)])
    assert format_pool(cut).startswith("1 replica of 3 shards each; each actor has 1 thread, 0.")
    assert format_pool(cut).endswith("1 GPU")


def test_without_options_the_recipe_is_unchanged(own_inputs: Path) -> None:
    path = write_recipe(own_inputs, small_recipe())
    recipe = load_changed_recipe(path, NO_CHANGES)
    assert (recipe.name, recipe.model.path) == ("tiny", "model")


def test_a_smaller_recipe_on_the_embedded_model_has_a_name_and_ids_of_its_own(own_inputs: Path) -> None:
    small = small_recipe()
    small["demonstrations"][0]["max_tokens"] = 512
    path = write_recipe(own_inputs, small)
    recipe = load_changed_recipe(path, RecipeChanges(shrink=1, model="demo"))
    assert recipe.name == "tiny (shrink 1) (model demo)"
    assert recipe.model.path == str(DEMO_MODEL)
    assert [entry.max_tokens for entry in recipe.demonstrations] == [256]
    ids = {key for job in build_plan(recipe).jobs for key in job.makes}
    small["demonstrations"][0]["max_tokens"] = 48
    full = build_plan(load_changed_recipe(write_recipe(own_inputs, small), NO_CHANGES))
    assert not ids & {key for job in full.jobs for key in job.makes}


def test_the_path_of_another_model_starts_at_the_working_directory(
    own_inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(own_inputs, small_recipe())
    monkeypatch.chdir(own_inputs)
    recipe = load_changed_recipe(path, RecipeChanges(model="model"))
    assert recipe.model.path == str(own_inputs / "model")


def test_a_model_that_does_not_exist_is_one_line(own_inputs: Path) -> None:
    path = write_recipe(own_inputs, small_recipe())
    with pytest.raises(ModelError, match="nothing"):
        load_changed_recipe(path, RecipeChanges(model="./nothing"))


def test_an_empty_model_is_not_the_working_directory(own_inputs: Path) -> None:
    path = write_recipe(own_inputs, small_recipe())
    with pytest.raises(ModelError, match=r"no model is named.*--model"):
        load_changed_recipe(path, RecipeChanges(model=""))


def test_the_text_of_a_recipe_contains_its_base_and_the_options_that_changed_it(own_inputs: Path) -> None:
    write_recipe(own_inputs, {**small_recipe(), "name": "of the base"}, name="base.yaml")
    variants = [{"name": "n-m", "score": "magnitude", "structure": "2:4"}]
    path = write_recipe(own_inputs, {"base": "base.yaml", "name": "own", "variants": variants})
    text = recipe_text(path, RecipeChanges(shrink=2, model="demo"))
    assert text.startswith('# run with --shrink 2 --model "demo"\n')
    (own_inputs / "copy.yaml").write_text(text)
    assert load_recipe(own_inputs / "copy.yaml") == load_recipe(path)
    assert (
        recipe_text({"name": "n", "path": Path("x"), "of": ("a", 1)}, NO_CHANGES) == "name: n\npath: x\nof:\n- a\n- 1\n"
    )
