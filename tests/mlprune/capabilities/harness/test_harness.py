"""Harness tasks on variants of a store, compared with the harness's model class on exported variants."""

import functools
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install -e '.[harness]'")

from lm_eval.models.huggingface import HFLM

from mlprune.capabilities.harness.harness import Evaluated, HarnessOptions, run_harness
from mlprune.capabilities.harness.task_requests import HarnessTask, load_tasks, run_task
from mlprune.capabilities.publishing.export import export_variant
from mlprune.errors import BadInputError
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.harness_tasks import TASKS, task_files
from tests.tiny_recipes import FinishedRun, chain_of, contents, copy_of

OPTIONS = HarnessOptions(limit=None, batch_tokens=200)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[HarnessTask]:
    return load_tasks(TASKS, include_path=task_files(tmp_path_factory.mktemp("harness") / "tasks"))


def variants_of(run: FinishedRun) -> list[str]:
    """Dense, masks alone, and changed weights."""
    labels = {variant.label: variant.id for variant in run.plan.variants.values()}
    return [labels["dense"], run.named("rest")[0].id, run.named("sparsegpt")[0].id]


def evaluated(
    run: FinishedRun, store: Store, tasks: list[HarnessTask], variant_ids: list[str], options: HarnessOptions = OPTIONS
) -> list[Evaluated]:
    chain = functools.cache(lambda: chain_of(run.plan))
    return list(run_harness(store, chain, model=run.plan.model, variant_ids=variant_ids, tasks=tasks, options=options))


@pytest.fixture(scope="module")
def done(
    method_run: FinishedRun, tasks: list[HarnessTask], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, list[Evaluated]]:
    """Every task on three variants of the methods recipe, in a copy of its store."""
    store = copy_of(method_run.store, tmp_path_factory.mktemp("done") / "store")
    return store, evaluated(method_run, store, tasks, variants_of(method_run))


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_results_equal_those_of_the_harness_on_the_exported_variant(
    method_run: FinishedRun, done: tuple[Store, list[Evaluated]], tasks: list[HarnessTask], tmp_path: Path, number: int
) -> None:
    store, results = done
    variant_id = variants_of(method_run)[number]
    export_variant(store, variant_id, method_run.folder / "model", tmp_path / "exported")
    reference = HFLM(str(tmp_path / "exported"), device="cpu", dtype="float32", batch_size=4, logits_cache=False)
    for task in tasks:
        (record,) = (result.record for result in results if (result.variant_id, result.task) == (variant_id, task.name))
        expected = run_task(reference, task, limit=None)
        asked = store.read_table(record.artefacts[1])
        for name in ("doc_id", "request_index", "context", "continuation", "is_greedy", "output"):
            assert asked[name] == [row[name] for row in expected.requests], name
        for value, row in zip(asked["log_likelihood"], expected.requests, strict=True):
            assert value == pytest.approx(row["log_likelihood"], abs=1e-4) or value is row["log_likelihood"] is None
        rows = {(row["metric"], row["filter"]): row for row in record.rows["harness_results"]}
        assert len(rows) == len(expected.results)
        for result in expected.results:
            assert rows[result.metric, result.filter]["value"] == pytest.approx(result.value, rel=1e-4)
            assert rows[result.metric, result.filter]["higher_is_better"] == result.higher_is_better


def test_variants_differ_in_their_answers(done: tuple[Store, list[Evaluated]]) -> None:
    store, results = done
    answers = {
        result.variant_id: tuple(store.read_table(result.record.artefacts[1])["log_likelihood"])
        for result in results
        if result.task == "local_choice"
    }
    assert len(set(answers.values())) == 3


def test_a_record_describes_the_run(done: tuple[Store, list[Evaluated]], method_run: FinishedRun) -> None:
    record = next(result.record for result in done[1] if result.task == "local_made")
    (row,) = record.rows["harness_evaluations"]
    variant_id = variants_of(method_run)[0]
    assert (row["harness_id"], row["variant_id"], row["task"]) == (record.id, variant_id, "local_made")
    assert (row["n_shots"], row["example_limit"], row["n_documents"], row["n_requests"]) == (1, None, 6, 6)
    assert [artefact.path for artefact in record.artefacts] == [
        f"harness/{record.id}/{name}.parquet" for name in ("documents", "requests")
    ]
    assert record.parents == {"variant": variant_id}


@pytest.mark.thorough("runs a model for every case")
def test_only_missing_records_are_run_again_and_have_the_same_bytes(
    done: tuple[Store, list[Evaluated]], method_run: FinishedRun, tasks: list[HarnessTask], tmp_path: Path
) -> None:
    store = copy_of(done[0], tmp_path / "store")
    variant_ids = variants_of(method_run)

    def no_chain() -> Any:
        raise AssertionError("nothing is to be run")

    model = method_run.plan.model
    again = run_harness(store, no_chain, model=model, variant_ids=variant_ids, tasks=tasks, options=OPTIONS)
    assert all(result.existed for result in again)
    lost: list[Record] = [result.record for result in done[1][4:6]]
    for record in lost:
        store.quarantine(record)
        store.delete(record.artefacts[0].path)
    results = evaluated(method_run, store, tasks[::-1], variant_ids[::-1])
    assert [result.record.id for result in results if not result.existed] == [record.id for record in lost[::-1]]
    assert contents(store) == contents(done[0])


def test_a_limit_makes_another_evaluation(
    done: tuple[Store, list[Evaluated]], method_run: FinishedRun, tasks: list[HarnessTask], tmp_path: Path
) -> None:
    store = copy_of(done[0], tmp_path / "store")
    options = HarnessOptions(limit=2, batch_tokens=200)
    (result,) = evaluated(method_run, store, tasks[:1], variants_of(method_run)[:1], options)
    assert not result.existed
    (row,) = result.record.rows["harness_evaluations"]
    assert (row["example_limit"], row["n_documents"]) == (2, 2)


def test_a_variant_with_an_intervention_is_refused(
    method_run: FinishedRun, tasks: list[HarnessTask], tmp_path: Path
) -> None:
    store = copy_of(method_run.store, tmp_path / "store")
    variant_id = variants_of(method_run)[1]
    record = store.require("variants", variant_id)
    record.rows["variants"][0]["intervention"] = "lrp2"
    store.write_record(record)
    with pytest.raises(BadInputError):
        evaluated(method_run, store, tasks, [variant_id])
