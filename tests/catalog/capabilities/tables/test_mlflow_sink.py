"""Variants as runs of MLflow: in a folder, in a database, and on a server."""

import io
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from catalog.store import Catalog
from mlprune.errors import BadInputError
from mlprune.store.store import Store
from tests.mlflow_server import TrackingServer, tracking_server

pytestmark = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is optional: pip install -e '.[mlflow]'")


@pytest.fixture
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Send nothing elsewhere, and have none of the variables that the sink sets."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    variables = ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT")
    for name in variables:
        monkeypatch.delenv(name, raising=False)
    yield
    for name in variables:
        os.environ.pop(name, None)


@pytest.fixture
def server(_settings: None) -> Iterator[TrackingServer]:
    with tracking_server() as one:
        yield one


@pytest.fixture(params=["folder", "server", pytest.param("database", marks=pytest.mark.slow)])
def tracking_uri(tmp_path: Path, server: TrackingServer, request: pytest.FixtureRequest) -> str:
    database = f"sqlite:///{tmp_path}/mlflow.db"
    return {"folder": (tmp_path / "mlruns").as_uri(), "server": server.uri, "database": database}[request.param]


def runs(tracking_uri: str) -> dict[str, Any]:
    from mlflow import MlflowClient  # noqa: PLC0415 - takes a second, which workers without these tests save

    client = MlflowClient(tracking_uri=tracking_uri)
    experiment = client.get_experiment_by_name("pruning")
    found, token = [], None
    while token is None or token:
        page = client.search_runs([experiment.experiment_id], page_token=token)
        found, token = [*found, *page], page.token or ""
    return {run.data.tags["mlprune.id"]: run for run in found}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_variants_are_runs_below_their_recipe(tmp_path: Path, tracking_uri: str) -> None:
    from catalog.capabilities.tables.mlflow_sink import send_to_mlflow  # noqa: PLC0415 - mlflow may be missing
    from tests.catalog_data import evaluation_of, write_rows  # noqa: PLC0415

    store = Store(tmp_path / "store")
    base = {"source": "tiny", "family": "xglm", "n_blocks": 1, "hidden_size": 4, "n_prunable": 16}
    base_id = write_rows(store, "base_models", parameters={}, rows={"base_models": [{"base_model_id": "@id", **base}]})
    ids = {}
    for name, sparsity in (("dense", 0.0), ("half", 0.5)):
        row = {"variant_id": "@id", "base_model_id": base_id, "sparsity": sparsity, "weights_changed": False}
        row["score"] = "magnitude" if sparsity else None
        ids[name] = write_rows(store, "variants", parameters={"name": name}, rows={"variants": [row]})
        values = {"accuracy": 0.25 + sparsity}
        evaluation_of(store, ids[name], task="facts", language="fr", split="test", values=values)
    names = [{"recipe": "tried", "kind": "variant", "name": name, "id": one} for name, one in ids.items()]
    names.append({"recipe": "tried", "kind": "variant", "name": "another name", "id": ids["half"]})
    write_rows(store, "recipes", parameters={}, rows={"names": names})
    with Catalog.open(store) as catalog:
        assert send_to_mlflow(catalog, tracking_uri=tracking_uri, experiment="pruning") == 2
        assert send_to_mlflow(catalog, tracking_uri=tracking_uri, experiment="pruning") == 0
        snapshot_id = catalog.snapshot_id()
    found = runs(tracking_uri)
    assert set(found) == {"tried", *(f"tried/{one}" for one in ids.values())}
    half = found[f"tried/{ids['half']}"]
    assert half.data.metrics == {"facts/fr/test/accuracy": 0.75}
    assert (half.data.params["score"], half.data.params["sparsity"]) == ("magnitude", "0.5")
    assert half.data.tags["mlflow.parentRunId"] == found["tried"].info.run_id
    assert half.data.tags["mlprune.snapshot_id"] == snapshot_id
    assert (half.info.status, half.info.run_name) == ("FINISHED", "magnitude 0.5")
    assert half.data.tags["mlprune.names"] == "another name, half"

    write_rows(store, "recipes", parameters={"n": 2}, rows={"names": [{**names[0], "name": "one more"}]})
    values = {"accuracy": 0.5}
    evaluation_of(store, ids["half"], task="facts", language="es", split="test", values=values)
    with Catalog.open(store) as catalog:
        assert send_to_mlflow(catalog, tracking_uri=tracking_uri, experiment="pruning") == 2
    again = runs(tracking_uri)
    assert {run.info.run_id for run in again.values()} == {run.info.run_id for run in found.values()}
    assert set(again[f"tried/{ids['half']}"].data.metrics) == {"facts/fr/test/accuracy", "facts/es/test/accuracy"}


def test_names_are_cut_to_what_databases_hold_and_none_is_printed(
    server: TrackingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow prints the names of runs with emojis, which a stdout that is not UTF-8 cannot write."""
    from catalog.capabilities.tables.mlflow_sink import send_to_mlflow  # noqa: PLC0415 - mlflow may be missing
    from tests.catalog_data import evaluation_of, write_base_and_sets, write_rows  # noqa: PLC0415

    store = Store(tmp_path / "store")
    base_id, _ = write_base_and_sets(store, ())
    blocks = {"blocks": [[block, 0.5] for block in range(8)]}
    row = {"variant_id": "@id", "base_model_id": base_id, "sparsity": 0.5, "score": "magnitude", "schedule": "given"}
    row |= {"schedule_parameters": blocks, "weights_changed": False}
    variant = write_rows(store, "variants", parameters={}, rows={"variants": [row]})
    evaluation_of(
        store, variant, task="a task " * 40, language="fr", split="test", values={"accuracy": 0.5, "ece": 0.1}
    )
    recipes = [f"{'a long name ' * 25}{number}" for number in range(2)]
    names = [{"recipe": recipe, "kind": "variant", "name": "näme 'quoted', %", "id": variant} for recipe in recipes]
    write_rows(store, "recipes", parameters={}, rows={"names": names})
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", printed)
    with Catalog.in_memory(store) as catalog:
        assert send_to_mlflow(catalog, tracking_uri=server.uri, experiment="pruning") == 2
    assert printed.tell() == 0
    runs_of = {run["tags"]["mlprune.id"]: run for run in server.runs.values()}
    assert set(runs_of) == {*recipes, *(f"{recipe}/{variant}" for recipe in recipes)}
    assert len({runs_of[recipe]["name"] for recipe in recipes}) == 2
    for recipe in recipes:
        run = runs_of[f"{recipe}/{variant}"]
        assert (run["status"], sorted(run["metrics"].values())) == ("FINISHED", [0.1, 0.5])
        assert run["tags"]["mlprune.names"] == "näme 'quoted', %"


@pytest.mark.parametrize("uri", ["", "nonsense://x", "http://127.0.0.1:1", "http://[::1", "https://"])
def test_a_wrong_tracking_uri_is_bad_input_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    from catalog.capabilities.tables.mlflow_sink import send_to_mlflow  # noqa: PLC0415 - mlflow may be missing

    monkeypatch.chdir(tmp_path)
    with Catalog.open(Store(tmp_path / "store")) as catalog:
        begin = monotonic()
        with pytest.raises(BadInputError, match="tracking"):
            send_to_mlflow(catalog, tracking_uri=uri, experiment="pruning")
    assert monotonic() - begin < 300
    assert not list(tmp_path.glob("ml*"))
