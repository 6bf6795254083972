"""`mlprune export --as masks` and `mlprune apply`: what a published folder says, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from catalog.store import Catalog
from mlprune.models.checkpoint.tensor_hashes import read_hashes
from mlprune.steps.variants.calibration_tokens import calibration_tokens, token_line
from mlprune.store.store import Store
from tests.command_line import Done
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import FinishedRun, copy_of

Here = Callable[..., Done]
ENVIRONMENT = {"environment_id": "e" * 20, "mlprune": "0.2.0", "code_sha256": "c0de", "git_commit": "c0ffee"}
JOB = {"run_id": "run-1", "job_id": "job-0", "step": "prune", "status": "done", "attempt": 1, "host": "node"}
STARTED = "2026-11-26T18:00:00"


@pytest.fixture(scope="module")
def store(small_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of the small recipe, with the files of a run that made one variant and the evaluations."""
    store = copy_of(small_run.store, tmp_path_factory.mktemp("publish") / "store")
    makes = [["variants", small_run.named("sweep")[0].id]]
    makes += [["evaluations", record.id] for record in store.records("evaluations")]
    run = {"run_id": "run-1", "command": "run", "started_at": STARTED, "recipe": "small"}
    store.write_run_file("run-1", "run", {**run, "recipe_yaml": "name: small\n"})
    packages = {"packages": {"torch": "2.10"}, "is_modified": False, "python": "CPython 3.11"}
    store.write_run_file("run-1", f"environment-{'e' * 20}", {**ENVIRONMENT, **packages})
    job = {**JOB, "makes": makes, "environment_id": "e" * 20, "started_at": STARTED, "elapsed_s": 1.0}
    store.write_run_file("run-1", "job-0", job)
    return store


@pytest.mark.thorough("runs commands that start or finish runs")
def test_a_variant_is_published_and_applied(here: Here, small_run: FinishedRun, store: Store, tmp_path: Path) -> None:
    model, variant_id = small_run.folder / "model", small_run.named("sweep")[0].id
    options = ("--store", store.uri, "--base-model", model)
    published = here("export", "--as", "masks", "sweep", "--out", tmp_path / "shared", *options)
    assert published.code == 0, published.err
    assert published.out == f"{tmp_path / 'shared'}\n"
    assert "of the base model's weights" in published.err
    applied = here("apply", model, tmp_path / "shared", "--out", tmp_path / "pruned")
    assert (applied.code, applied.out) == (0, f"{tmp_path / 'pruned'}\n"), applied.err
    label = json.loads(
        here(
            *("query", f"SELECT label FROM internal.variant_descriptions WHERE variant_id = '{variant_id}'"),
            *("--store", store.uri, "--format", "json"),
        ).out
    )[0]["label"]
    exported = here("export", label, "--out", tmp_path / "exported", *options)
    assert exported.code == 0
    assert token_line(calibration_tokens(store, store.require("variants", variant_id))) in exported.err
    assert here("check", "variant", label, *options).out.startswith("equal: ")
    assert read_hashes(tmp_path / "pruned") == read_hashes(tmp_path / "exported")


def test_metrics_environment_and_recipe_come_from_the_store(
    here: Here, small_run: FinishedRun, store: Store, tmp_path: Path
) -> None:
    variant_id = small_run.named("sweep")[0].id
    here(
        "export",
        "--as",
        "masks",
        "sweep",
        "--out",
        tmp_path / "shared",
        "--store",
        store.uri,
        "--base-model",
        small_run.folder / "model",
    )
    metrics = json.loads((tmp_path / "shared" / "metrics.json").read_text())
    rows = [row for row in small_run.rows("metrics") if row["variant_id"] == variant_id]
    columns = ("evaluation_id", "metric", "value", "ci_low", "ci_high", "n", "chance")
    assert sorted([row[name] for name in columns] for row in metrics["metrics"]) == sorted(
        [row[name] for name in columns] for row in rows
    )
    dense = {
        (row["language"], row["metric"]): row["value"]
        for row in small_run.rows("metrics")
        if small_run.plan.variants[row["variant_id"]].is_dense
    }
    accuracies = [row for row in metrics["metrics"] if row["metric"] == "accuracy"]
    assert all(row["chance"] is not None and row["evaluated_at"].startswith(STARTED) for row in accuracies)
    assert all(row["dense_value"] == dense[row["language"], "accuracy"] for row in accuracies)
    (environment,) = json.loads((tmp_path / "shared" / "environment.json").read_text())
    assert environment["git_commit"] == "c0ffee"
    assert environment["packages"] == ["torch==2.10"]
    assert environment["made"] == [f"variants/{variant_id}"]
    assert yaml.safe_load((tmp_path / "shared" / "recipe.yaml").read_text()) == {"name": "small"}


def test_several_variants_are_named_in_an_index(
    here: Here, small_run: FinishedRun, store: Store, tmp_path: Path
) -> None:
    options = ("--store", store.uri, "--base-model", small_run.folder / "model")
    done = here("export", "--as", "masks", "ordering", "sweep", "--out", tmp_path / "shared", *options)
    assert done.code == 0, done.err
    ids = [variant.id for name in ("ordering", "sweep") for variant in small_run.named(name)]
    index = json.loads((tmp_path / "shared" / "index.json").read_text())
    assert [entry["variant_id"] for entry in index["variants"]] == ids
    assert len(done.err.splitlines()) == len(ids) == 3
    with Catalog.open(store) as catalog:
        labels = dict(catalog.select("SELECT variant_id, label FROM described_variants").rows)
    assert [entry["label"] for entry in index["variants"]] == [labels[variant_id] for variant_id in ids]
    for variant_id, is_known in zip(ids, (False, False, True), strict=True):
        folder = tmp_path / "shared" / variant_id
        assert (folder / "recipe.yaml").exists() == is_known, "no run file mentions the other variants"
        assert bool(json.loads((folder / "environment.json").read_text())) == is_known


@pytest.mark.thorough("runs commands that start or finish runs")
def test_bad_input_is_one_line_and_nothing_is_written(
    here: Here, small_run: FinishedRun, store: Store, tmp_path: Path
) -> None:
    model = small_run.folder / "model"
    options = ("--store", store.uri, "--base-model", model)
    other = save_tiny_model(tmp_path / "other", seed=1)
    assert here("export", "--as", "masks", "sweep", "--out", tmp_path / "shared", *options).code == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = sorted(path for path in tmp_path.iterdir())
    calls = {
        "unknown variant": ("export", "--as", "masks", "unnamed", "--out", tmp_path / "out", *options),
        "without masks": ("export", "--as", "masks", "dense", "--out", tmp_path / "out", *options),
        "another model": (
            "export",
            "--as",
            "masks",
            "sweep",
            "--out",
            tmp_path / "out",
            "--store",
            store.uri,
            "--base-model",
            other,
        ),
        "empty folder": ("export", "--as", "masks", "sweep", "--out", tmp_path / "full", *options),
        "another base model": ("apply", other, tmp_path / "shared", "--out", tmp_path / "out"),
        "published.json": ("apply", model, tmp_path / "nowhere", "--out", tmp_path / "out"),
        "an empty folder": ("apply", model, tmp_path / "shared", "--out", tmp_path / "full"),
    }
    for words, call in calls.items():
        done = here(*call)
        assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1), done.err
        assert words in done.err
    assert sorted(path for path in tmp_path.iterdir()) == before
