"""Results of lm-evaluation-harness that were computed elsewhere, in a store and its catalog."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from catalog.check import check
from catalog.store import Catalog
from mlprune.capabilities.harness.harness import ImportedTask, import_results
from mlprune.capabilities.harness.lm_eval_results import parse_given_json
from mlprune.errors import BadInputError
from mlprune.store.store import Store
from tests.catalog.query_answers import answers
from tests.catalog_data import write_base_and_sets, write_rows
from tests.lm_eval_output import RESULTS, write_output
from tests.refusals import refused


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def write_variant(store: Store) -> str:
    base_id, _ = write_base_and_sets(store, ())
    row = {"variant_id": "@id", "base_model_id": base_id, "score": "magnitude"}
    row |= {"sparsity": 0.5, "achieved_sparsity": 0.5}
    return write_rows(store, "variants", parameters={}, rows={"variants": [row]})


def write_own(store: Store, variant_id: str, **changes: Any) -> None:
    """What `mlprune harness` measured for the same task."""
    keys = {"harness_id": "@id", "variant_id": variant_id, "task": "xnli_fr"}
    evaluation = {**keys, "n_shots": 2, "example_limit": 8, "dtype": "float32", **changes}
    result = {**keys, "metric": "acc", "filter": "none", "value": 0.5}
    rows = {"harness_evaluations": [evaluation], "harness_results": [result]}
    write_rows(store, "harness_evaluations", parameters={"of": [variant_id, changes]}, rows=rows)


def imported(store: Store, *paths: Path, variant_id: str | None = None) -> dict[str, ImportedTask]:
    return {one.task.name: one for one in import_results(store, paths, variant_id=variant_id)}


def test_every_task_is_a_record_with_its_numbers_interval_and_provenance(store: Store, tmp_path: Path) -> None:
    write_output(tmp_path / "deep" / "exported__")
    tasks = imported(store, tmp_path / "deep")
    assert {name: one.existed for name, one in tasks.items()} == {"xnli_fr": False, "wikitext": False}
    record = store.require("external_results", tasks["xnli_fr"].record_id)
    (evaluation,) = record.rows["external_evaluations"]
    assert (evaluation["model"], evaluation["variant_id"], evaluation["n_documents"]) == ("exported/", None, 8)
    assert evaluation["provenance"]["config"] == RESULTS["config"]  # type: ignore[index, call-overload]
    accuracy, normed = record.rows["external_results"]
    assert (accuracy["value"], accuracy["n"], accuracy["interval"]) == (0.625, 8, "wilson")
    assert accuracy["ci_low"] < 0.625 < accuracy["ci_high"]  # type: ignore[operator]
    assert (normed["value"], normed["n"], normed["ci_low"]) == (0.5, None, None)
    documents = store.read_table(record.artefacts[0])
    assert [json.loads(str(text))["acc"] for text in documents["metrics"]] == [1, 1, 0, 1, 0, 1, 1, 0]
    assert store.require("external_results", tasks["wikitext"].record_id).artefacts == ()


def test_a_copy_is_the_same_import_and_another_variant_is_not(store: Store, tmp_path: Path) -> None:
    write_output(tmp_path / "out")
    first = imported(store, tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    again = imported(store, tmp_path / "copy", tmp_path / "copy")
    assert {one.record_id for one in again.values()} == {one.record_id for one in first.values()}
    assert all(one.existed for one in again.values())
    of_variant = imported(store, tmp_path / "out", variant_id=write_variant(store))
    assert not {one.record_id for one in of_variant.values()} & {one.record_id for one in first.values()}


@pytest.mark.thorough("runs a model for every case")
def test_imported_numbers_are_in_no_other_table_and_stand_next_to_our_own(store: Store, tmp_path: Path) -> None:
    variant_id = write_variant(store)
    write_own(store, variant_id)
    write_own(store, variant_id, n_shots=0)
    write_output(tmp_path / "out")
    imported(store, tmp_path / "out", variant_id=variant_id)
    with Catalog.in_memory(store) as catalog:
        rows = {(row["task"], row["metric"]): row for row in answers(catalog, "results_from_elsewhere")}
        assert catalog.query("SELECT task FROM metrics UNION ALL SELECT task FROM evaluations") == []
        assert len(catalog.query("FROM harness_results")) == 2
        assert answers(catalog, "results_from_elsewhere", "task=wikitext")[0]["value"] == 23.5
    assert set(rows) == {("xnli_fr", "acc"), ("xnli_fr", "acc_norm"), ("wikitext", "word_perplexity")}
    assert rows["xnli_fr", "acc"]["own_value"] == 0.5
    assert rows["xnli_fr", "acc"]["difference"] == 0.125
    assert rows["xnli_fr", "acc_norm"]["own_value"] is None
    assert rows["xnli_fr", "acc"]["label"] == "magnitude 0.5"
    damages, _ = check(store)
    assert damages == []


def test_samples_of_another_run_and_wrong_files_are_refused_before_anything_is_written(
    store: Store, tmp_path: Path
) -> None:
    path = write_output(tmp_path / "out")
    wrong = tmp_path / "wrong"
    shutil.copytree(tmp_path / "out", wrong)
    samples = next(wrong.glob("samples_*"))
    samples.write_text("".join(samples.read_text().splitlines(keepends=True)[:-1]))
    broken = tmp_path / "results_broken.json"
    broken.write_text("{")
    empty = tmp_path / "empty"
    empty.mkdir()
    for other in (wrong, broken, empty, tmp_path / "missing.json"):
        with pytest.raises(BadInputError):
            imported(store, path, other)
    assert not store.list("records")


def change(tmp_path: Path, **changes: object) -> Path:
    """Write results of one task with other values of some keys."""
    content = {**RESULTS, "results": {"xnli_fr": RESULTS["results"]["xnli_fr"]}, **changes}
    path = tmp_path / "results_1.json"
    path.write_text(json.dumps(content).replace('"HUGE"', "1" + "0" * 400))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"n-samples": {"xnli_fr": {"original": -1, "effective": 10**30}}},
        {"n-samples": {"xnli_fr": {"effective": -1}}},
        {"n-shot": {"xnli_fr": 2**31}},
        {"results": {"xnli_fr": {"acc,none": "HUGE"}}},
        {"date": 1e300},
        {"model_name": "\ud800"},
    ],
    ids=str,
)
def test_numbers_and_texts_that_do_not_fit_the_catalog_are_refused(
    store: Store, tmp_path: Path, changes: dict[str, object]
) -> None:
    with pytest.raises(BadInputError) as caught:
        imported(store, change(tmp_path, **changes))
    assert "results_1.json" in str(caught.value)
    assert store.record_names() == []


@pytest.mark.thorough("runs a model for every case")
def test_what_is_imported_always_fits_the_catalog(store: Store, tmp_path: Path) -> None:
    for value in (float("nan"), float("inf"), -1e308, 2**53):
        imported(store, change(tmp_path, results={"xnli_fr": {"acc,none": value, "f1,none": 0.5}}))
    assert len(store.record_names()) == 4
    assert check(store) == ([], [])


@pytest.mark.parametrize("doc_id", ["1" + "0" * 30, "true", "1.5"])
def test_a_document_whose_number_does_not_fit_is_named(store: Store, tmp_path: Path, doc_id: str) -> None:
    results = write_output(tmp_path / "output")
    (samples,) = results.parent.glob("samples_xnli_fr_*.jsonl")
    samples.write_text(samples.read_text().replace('"doc_id": 3', f'"doc_id": {doc_id}'))
    with refused(BadInputError, line=4):
        imported(store, results)
    assert store.record_names() == []


def test_json_of_others_has_numbers_and_texts_that_can_be_stored() -> None:
    assert parse_given_json("[1, -9223372036854775808, 1e999, NaN, -Infinity, 0.5]") == [
        1, -(2**63), "1e999", "NaN", "-Infinity", 0.5,
    ]  # fmt: skip
    for text in ("9223372036854775808", "1" * 5_000, '"\\ud800"', "[" * 100_000, "{", b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            parse_given_json(text)
