"""Results of a finished run in the formats of others."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

from catalog.capabilities.harness.standards import Request, export_results
from catalog.store import Catalog
from mlprune.capabilities.harness.every_eval_ever import Submission
from mlprune.errors import BadInputError, UnreadableFileError
from mlprune.store.store import Store
from tests.catalog_data import evaluation_of, write_base_and_sets, write_rows
from tests.mlprune.capabilities.harness.eee_schema import AGGREGATE, SAMPLE
from tests.tiny_recipes import FinishedRun

REQUEST = Request(Submission(organisation="a lab", library_version="0.2.0", retrieved_at=1_764_000_000))


@pytest.fixture(scope="module")
def catalog(tiny_run: FinishedRun) -> Iterator[Catalog]:
    """The catalog of a run with facts, perplexity and translation."""
    with Catalog.in_memory(tiny_run.store) as opened:
        yield opened


@pytest.fixture(scope="module")
def exported(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "shared"
    export_results(catalog, folder, format="every_eval_ever", request=REQUEST)
    return folder


def logs_of(folder: Path) -> dict[Path, dict[str, Any]]:
    return {path: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("data/*/*/*/*.json"))}


def test_every_metric_of_the_catalog_is_in_a_log_with_the_same_bits(exported: Path, catalog: Catalog) -> None:
    rows = catalog.query(
        "SELECT m.* FROM metrics AS m ANTI JOIN internal.outdone_evaluations AS o USING (evaluation_id)"
    )
    expected = {f"{row['evaluation_id']}/{row['metric']}": row for row in rows}
    found: dict[str, dict[str, Any]] = {}
    for log in logs_of(exported).values():
        AGGREGATE.validate(log)
        found |= {one["evaluation_result_id"]: one for one in log["evaluation_results"]}
    assert set(found) == set(expected)
    for key, row in expected.items():
        details = found[key]["score_details"]
        assert details["score"] == row["value"]
        uncertainty = details.get("uncertainty", {})
        assert uncertainty.get("num_samples") == row["n"]
        assert uncertainty.get("standard_error", {}).get("value") == row["standard_error"]
        interval = uncertainty.get("confidence_interval", {})
        assert (interval.get("lower"), interval.get("upper")) == (row["ci_low"], row["ci_high"])
        assert found[key]["metric_config"]["lower_is_better"] is not row["higher_is_better"]


def test_the_items_of_a_log_give_its_accuracies(exported: Path) -> None:
    n_checked = 0
    for path, log in logs_of(exported).items():
        scores = {one["evaluation_result_id"]: one["score_details"]["score"] for one in log["evaluation_results"]}
        named = log.get("detailed_evaluation_results")
        assert (named is None) == (log["evaluation_results"][0]["metric_config"]["metric_id"] == "perplexity")
        if named is None:
            continue
        file = exported / named["file_path"]
        assert file.parent == path.parent
        assert sha256(file.read_bytes()).hexdigest() == named["checksum"]
        samples = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        assert len(samples) == named["total_rows"]
        by_result: dict[str, list[dict[str, Any]]] = {}
        for sample in samples:
            SAMPLE.validate(sample)
            assert (sample["evaluation_id"], sample["model_id"]) == (log["evaluation_id"], log["model_info"]["id"])
            by_result.setdefault(sample["evaluation_result_id"], []).append(sample)
        for result_id, of_result in by_result.items():
            assert fmean(sample["evaluation"]["score"] for sample in of_result) == pytest.approx(
                scores[result_id], abs=1e-12
            )
            assert len({sample["sample_id"] for sample in of_result}) == len(of_result)
            n_checked += 1
    assert n_checked > 10


def test_a_sample_says_what_was_asked_and_answered(exported: Path) -> None:
    (file,) = [next(folder.glob("*_samples.jsonl")) for folder in exported.glob("data/mlprune-facts/*/*")][:1]
    sample = json.loads(file.read_text("utf-8").splitlines()[0])
    assert sample["input"]["choices"] in (
        ["red", "blue", "grey"],
        ["rouge", "bleu", "gris"],
        ["wekundu", "buluu", "kijivu"],
    )
    assert len(sample["input"]["raw"].splitlines()) == 3
    assert sample["input"]["reference"][0] in sample["input"]["choices"]
    assert sample["evaluation"]["is_correct"] == (sample["output"]["raw"] == sample["input"]["reference"])


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_items_of_the_published_profile_give_its_accuracies(profile_run: FinishedRun, tmp_path: Path) -> None:
    with Catalog.in_memory(profile_run.store) as catalog:
        done = export_results(catalog, tmp_path / "out", format="every_eval_ever", request=REQUEST)
    assert done.n_samples > 0
    results = [one for log in logs_of(tmp_path / "out").values() for one in log["evaluation_results"]]
    protocols = [one["generation_config"]["additional_details"].get("protocol") for one in results]
    assert any("paper profile" in str(protocol) for protocol in protocols)


def test_variants_can_be_chosen_and_items_left_out(catalog: Catalog, tiny_run: FinishedRun, tmp_path: Path) -> None:
    (magnitude,) = [one for one in tiny_run.named("magnitude") if not one.is_dense]
    request = Request(REQUEST.submission, with_samples=False)
    done = export_results(
        catalog, tmp_path / "one", format="every_eval_ever", request=request, variant_ids=[magnitude.id]
    )
    logs = logs_of(tmp_path / "one")
    assert {log["model_info"]["additional_details"]["variant_id"] for log in logs.values()} == {magnitude.id}
    assert (done.n_files, done.n_samples) == (len(logs), 0)
    assert not list((tmp_path / "one").rglob("*.jsonl"))


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_hub_gets_accuracies_on_its_data_sets_and_the_others_are_counted(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="data set of the hub"):
        export_results(catalog, tmp_path / "none", format="hub", request=REQUEST)
    assert not (tmp_path / "none").exists()
    store = Store(tmp_path / "store")
    base_id, _ = write_base_and_sets(store, ())
    row = {"variant_id": "@id", "base_model_id": base_id, "sparsity": 0.0, "achieved_sparsity": 0.0}
    dense = write_rows(store, "variants", parameters={}, rows={"variants": [row]})
    names = [{"recipe": "r", "kind": "data_set", "name": "facebook/xnli@main", "id": "a" * 40}]
    write_rows(store, "recipes", parameters={}, rows={"names": names})
    values = {"accuracy": 1 / 3, "ece": 0.2}
    evaluation_of(store, dense, task="xnli", language="fr", split="test", values=values)
    with Catalog.in_memory(store) as own:
        done = export_results(own, tmp_path / "hub", format="hub", request=REQUEST)
    (file,) = (tmp_path / "hub").glob("*/.eval_results/*.yaml")
    assert file.parents[1].name == dense
    (entry,) = yaml.safe_load(file.read_text("utf-8"))
    assert entry["dataset"] == {"id": "facebook/xnli", "task_id": "fr", "revision": "a" * 40}
    assert entry["value"] == values["accuracy"]
    assert (done.n_results, sum(done.left_out.values())) == (1, 1)


def test_unusable_folders_and_formats_are_refused(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for folder, name in (
        (tmp_path / "full", "every_eval_ever"),
        (tmp_path / "full" / "file", "every_eval_ever"),
        (tmp_path / "new", "csv"),
    ):
        with pytest.raises(BadInputError):
            export_results(catalog, folder, format=name, request=REQUEST)
    assert not (tmp_path / "new").exists()


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_missing_predictions_and_those_of_another_accuracy_stop_the_export(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    base_id, _ = write_base_and_sets(store, ())
    row = {"variant_id": "@id", "base_model_id": base_id, "sparsity": 0.0, "achieved_sparsity": 0.0}
    dense = write_rows(store, "variants", parameters={}, rows={"variants": [row]})
    evaluation_of(store, dense, task="facts", language="fr", split="test", values={"accuracy": 0.123})
    with Catalog.in_memory(store) as catalog, pytest.raises(UnreadableFileError, match="--no-samples"):
        export_results(catalog, tmp_path / "out", format="every_eval_ever", request=REQUEST)
    next((tmp_path / "store" / "predictions").iterdir()).unlink()
    with Catalog.in_memory(store) as catalog, pytest.raises(UnreadableFileError, match="--no-samples"):
        export_results(catalog, tmp_path / "out", format="every_eval_ever", request=REQUEST)
    assert not (tmp_path / "out").exists()
