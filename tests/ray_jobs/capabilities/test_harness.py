"""`mlprune harness`: output, exit codes and effect on the catalog."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install -e '.[harness]'")

from catalog.check import check
from catalog.store import Catalog
from mlprune.store.records import Record
from mlprune.store.store import Store
from ray_jobs.capabilities.harness import harness
from ray_jobs.capabilities.harness.command_model import CommandModel
from ray_jobs.capabilities.harness.harness_run import HarnessArguments, _models
from tests.command_line import Done
from tests.forked_runs import mlprune
from tests.harness_tasks import task_files
from tests.ray_cluster import Cluster
from tests.tiny_recipes import FinishedRun, copy_of, results


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return task_files(tmp_path_factory.mktemp("harness") / "tasks")


def arguments(opened: Store, run: FinishedRun, folder: Path, **changes: object) -> list[object]:
    options = {
        "task": "local_choice,local_text",
        "store": opened.uri,
        "include-path": folder,
        "base-model": run.folder / "model",
        **changes,
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


@pytest.mark.thorough("runs commands that start or finish runs")
def test_results_of_variants_are_printed_and_cataloged_and_a_second_run_skips_them(
    here: Callable[..., Done], small_run: FinishedRun, tasks: Path, tmp_path: Path
) -> None:
    store = copy_of(small_run.store, tmp_path / "store")
    done = here("harness", "dense", "ordering", "sweep", *arguments(store, small_run, tasks, limit=3))
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split() == ["variant", "task", "metric", "filter", "value", "stderr"]
    with Catalog.open(store) as catalog:
        rows = catalog.query("SELECT * FROM harness_results ORDER BY harness_id, metric")
        counts = catalog.query(
            "SELECT task, count(*) AS n, max(n_documents) AS most FROM harness_evaluations GROUP BY 1"
        )
    assert len(lines) - 1 == len(rows)
    assert all(any(row["variant_id"] in line and row["metric"] in line for line in lines) for row in rows)
    n_variants = len({row["variant_id"] for row in rows})
    assert n_variants == len(small_run.plan.variants), "ordering is the name of two variants"
    assert {row["task"]: (row["n"], row["most"]) for row in counts} == {
        "local_choice": (n_variants, 3),
        "local_text": (n_variants, 3),
    }
    assert check(store) == ([], [])
    again = here("harness", "dense", "ordering", "sweep", *arguments(store, small_run, tasks, limit=3))
    assert again.out == done.out
    assert again.err.count("already done") == 2 * n_variants


@pytest.mark.thorough("runs commands that start or finish runs")
@pytest.mark.parametrize(
    ("variant", "changes", "words"),
    [
        ("unnamed", {}, "unknown variant"),
        ("dense", {"task": ","}, "no task"),
        ("dense", {"dtype": "float8"}, "float8"),
        ("dense", {"include-path": "nowhere"}, "nowhere"),
        ("dense", {"base-model": "nowhere"}, "nowhere"),
        ("dense", {"store": "nowhere"}, "does not exist"),
        ("dense", {"shards": 2}, "--shards"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    here: Callable[..., Done], small_run: FinishedRun, tasks: Path, variant: str, changes: dict[str, object], words: str
) -> None:
    before = set(small_run.store.list(""))
    done = here("harness", variant, *arguments(small_run.store, small_run, tasks, **changes))
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert len(done.err.splitlines()) == 1
    assert set(small_run.store.list("")) - before <= {"catalog.duckdb"}


@pytest.mark.thorough("runs commands that start or finish runs")
def test_a_result_names_the_kind_of_device_that_computed_it(
    here: Callable[..., Done], small_run: FinishedRun, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copy_of(small_run.store, tmp_path / "store")
    monkeypatch.setattr(CommandModel, "device", lambda _: "cuda")
    done = here("harness", "dense", *arguments(store, small_run, tasks, limit=1, task="local_text"))
    assert done.code == 0, done.err
    (record,) = store.records("harness_evaluations")
    assert record.parameters["device"] == "cuda"


def test_a_memory_budget_without_room_for_the_model_is_refused(
    here: Callable[..., Done], small_run: FinishedRun, tasks: Path
) -> None:
    before = set(small_run.store.list(""))
    done = here("harness", "dense", *arguments(small_run.store, small_run, tasks, **{"memory-gib-per-actor": 0.01}))
    assert done.code == 2
    assert "does not fit" in done.err
    assert set(small_run.store.list("")) - before <= {"catalog.duckdb"}


@pytest.mark.slow
@pytest.mark.ray
def test_shards_on_a_cluster_give_the_numbers_of_one_process(
    cluster: Cluster, small_run: FinishedRun, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.settings.items():
        monkeypatch.setenv(name, value)
    outputs = []
    for number, options in enumerate([{}, {"address": cluster.address, "shards": 2}]):
        store = copy_of(small_run.store, tmp_path / f"store-{number}")
        done = mlprune("harness", "dense", "sweep", *arguments(store, small_run, tasks, limit=3, **options))
        assert done.returncode == 0, done.stderr
        outputs.append((done.stdout, {path: data for path, data in results(store).items() if "harness" in path}))
    assert outputs[0] == outputs[1]


def test_a_variant_runs_in_its_own_dtype_and_the_dense_one_in_that_of_the_others(small_run: FinishedRun) -> None:
    chosen = HarnessArguments(("t",), None, None, None, 128, None, small_run.folder / "model")
    sweep = small_run.named("sweep")[0].id
    record = small_run.store.require("variants", sweep)
    dense = next(found.id for found in small_run.store.records("variants") if "dtype" not in found.parameters)

    class OtherDtype(Store):
        def require(self, kind: str, record_id: str) -> Record:
            found = super().require(kind, record_id)
            return replace(found, parameters={**record.parameters, "dtype": "bfloat16"}) if found == record else found

    store = OtherDtype(small_run.store.uri)
    for dtype, expected in ((None, "bfloat16"), ("float16", "float16")):
        ((model, ids),) = _models(store, [dense, sweep], replace(chosen, dtype=dtype))
        assert (model.dtype, ids) == (expected, [dense, sweep])
    ((model, _),) = _models(store, [dense], chosen)
    assert model.dtype == "float32"


@pytest.mark.thorough("runs commands that start or finish runs")
def test_a_folder_with_another_model_is_refused(
    here: Callable[..., Done], small_run: FinishedRun, tasks: Path, own_inputs: Path
) -> None:
    config = own_inputs / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text("utf-8")), "dropout": 0.3}), encoding="utf-8")
    done = here(
        "harness", "dense", *arguments(small_run.store, small_run, tasks, **{"base-model": own_inputs / "model"})
    )
    assert done.code == 2
    assert "another model" in done.err


def test_without_the_harness_the_error_names_the_package_to_install(
    here: Callable[..., Done], small_run: FinishedRun, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "find_spec", lambda _: None)
    done = here("harness", "dense", *arguments(small_run.store, small_run, tasks))
    assert done.code == 2
    assert ".[harness]" in done.err
