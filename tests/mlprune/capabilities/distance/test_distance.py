"""Distances of tiny runs: against transformers in float64, on shards, after a kill, with other batches and tokens."""

import functools
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.distance.dense_states import KIND, DenseStatesJob
from mlprune.errors import RecipeError, TaskFileError
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.task_metrics import METRICS
from mlprune.models.local_chain import local_chain
from mlprune.planning import build_plan, pending_jobs
from mlprune.planning.pending import Remake, find_retired, pending_work
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.evaluate.results import predictions_of
from mlprune.steps.rescore.rescore import Change, Selection, rescore
from mlprune.steps.tasks.evaluation import EvaluationSpec, task_data
from mlprune.store.retention import Ranking, RetentionRules, decide, mask_files, retire
from mlprune.store.store import Store
from mlprune.vocabulary import METRIC_TRAITS
from tests.chains import TransportChain, chain_with_masks
from tests.expert_models import save_expert_model
from tests.mlprune.capabilities.distance.transformers_distance import expected_measures
from tests.recurrent_models import save_recurrent_model
from tests.refusals import refused
from tests.tiny_models import save_tiny_model, tiny_tokenizer
from tests.tiny_recipes import (
    FinishedRun,
    copy_of,
    finished_run,
    plan_of,
    results,
    small_recipe,
    write_recipe,
    write_texts,
)

MEASURED = tuple(name for name, traits in METRIC_TRAITS.items() if traits.key == "distance")
TYPES: dict[str, Callable[[Path], Path]] = {
    "gpt2": lambda folder: save_tiny_model(folder, "gpt2"),
    "gemma2": lambda folder: save_tiny_model(folder, "gemma2"),
    "qwen3_5_text": lambda folder: save_recurrent_model(folder, "qwen3_5_text"),
    "qwen3_moe": save_expert_model,
}
"""A dense model with a tied head, one with a cap, a hybrid one and one with experts."""


def recipe(**changes: Any) -> dict[str, Any]:
    """Two variants, one of them equal to dense, on candidates and on sentences, both with distances."""
    facts = {"task": "facts", "path": "facts", "languages": ["en", "fr"], "rule": ["mean", "pmi"], "distance": True}
    sentences = {"task": "perplexity", "path": "corpus", "languages": ["en", "fr"], "limit": 6, "distance": True}
    variants = [
        {"name": "random", "score": "random", "sparsity": 0.5},
        {"name": "same", "score": "magnitude", "sparsity": 0.01},
    ]
    return {
        **small_recipe(),
        "demonstrations": [],
        "variants": variants,
        "evaluations": [facts, sentences],
        "compute": {"batch_tokens": 64},
        **changes,
    }


@pytest.fixture(scope="module")
def run(tiny_inputs: Path) -> FinishedRun:
    return finished_run(tiny_inputs, recipe(), name="distances")


def evaluations(run: FinishedRun, variant_id: str) -> Iterator[tuple[EvaluationSpec, Predictions]]:
    """The evaluations of a variant with their predictions."""
    for job in run.plan.jobs:
        if isinstance(job, EvaluateJob) and job.variant_id == variant_id:
            for evaluation in job.evaluations:
                predictions = predictions_of(run.store, evaluation)
                assert isinstance(predictions, Predictions)
                yield evaluation, predictions


@pytest.mark.thorough("runs models of several types")
@pytest.mark.parametrize("name", TYPES)
def test_measures_are_those_of_transformers_in_float64(name: str, tmp_path: Path) -> None:
    TYPES[name](tmp_path / "model")
    write_texts(tmp_path)
    assert_measures(finished_run(tmp_path, recipe(), name="run"))


def test_measures_of_a_dense_type_are_those_of_transformers_in_float64(run: FinishedRun) -> None:
    assert_measures(run)


def assert_measures(run: FinishedRun) -> None:
    """Check the texts of one variant against transformers."""
    (variant,) = run.named("random")
    folder, dense_id = Path(run.plan.model.path), next(iter(run.plan.variants))
    dense, masked = (load_masked_model(run.store, one, folder) for one in (dense_id, variant.id))
    for evaluation, predictions in evaluations(run, variant.id):
        texts = [text for item in task_data(evaluation.task).items for text in item.texts]
        for row in (0, len(texts) - 1):
            expected = expected_measures(dense, masked, tiny_tokenizer()(texts[row])["input_ids"])
            expected["n_characters"] = float(len(unicodedata.normalize("NFC", texts[row])))
            for measure, value in expected.items():
                near = pytest.approx(value, rel=2e-4, abs=2e-5)
                assert float(predictions.measures[measure][row]) == near, (evaluation.task.task, measure)


def test_dense_and_a_variant_equal_to_it_have_exactly_no_distance(run: FinishedRun) -> None:
    (same,) = run.named("same")
    assert not same.is_dense
    for variant in (next(iter(run.plan.variants)), same.id):
        for evaluation, _ in evaluations(run, variant):
            values = {row["metric"]: row for row in run.store.require(*evaluation.identity.key).rows["metrics"]}
            columns = ("value", "ci_low", "ci_high")
            found = {name: tuple(values[name][column] for column in columns) for name in MEASURED}
            assert found == {**dict.fromkeys(MEASURED, (0.0, 0.0, 0.0)), "top_agreement": (1.0, 1.0, 1.0)}


def test_metrics_are_ratios_of_the_sums_of_the_measures(run: FinishedRun) -> None:
    (variant,) = run.named("random")
    for evaluation, predictions in evaluations(run, variant.id):
        rows = {row["metric"]: row for row in run.store.require(*evaluation.identity.key).rows["metrics"]}
        sizes = {"n_tokens": predictions.likelihoods.n_whole, "n_characters": predictions.measures["n_characters"]}
        for name in MEASURED:
            traits = METRIC_TRAITS[name]
            ratio = float(predictions.measures[traits.measure].sum() / sizes[traits.over].sum())
            assert rows[name]["value"] == pytest.approx(ratio)
            assert rows[name]["ci_low"] <= rows[name]["value"] <= rows[name]["ci_high"]


def test_differences_to_dense_are_the_distances(run: FinishedRun) -> None:
    (variant,) = run.named("random")
    n_found = 0
    for record in run.store.records("comparisons"):
        for row in record.rows["comparison_results"]:
            if row["variant_id"] == variant.id and row["metric"] in MEASURED:
                baseline = 1.0 if row["metric"] == "top_agreement" else 0.0
                metrics = run.store.require("evaluations", str(row["evaluation_id"])).rows["metrics"]
                value = next(one["value"] for one in metrics if one["metric"] == row["metric"])
                assert row["difference"] == pytest.approx(value - baseline)
                assert row["scale"] == METRIC_TRAITS[str(row["metric"])].scale
                n_found += 1
    assert n_found == len(MEASURED) * 6


def test_states_are_stored_once_per_task_and_language(run: FinishedRun) -> None:
    jobs = [job for job in run.plan.jobs if isinstance(job, DenseStatesJob)]
    assert len(jobs) == len(list(run.store.records(KIND))) == 4
    for job in jobs:
        n_stored = sum(artefact.n_bytes for artefact in run.store.require(*job.identity.key).artefacts)
        batches = job.source.prepared(run.store).batches
        n_states = sum(len(planned.batch.predicting[0]) for planned in batches)
        assert n_states * 16 * 4 <= n_stored <= n_states * 16 * 4 + 1000 * len(batches)


def again(run: FinishedRun, folder: Path, *kinds: str) -> Store:
    """A copy of the store without the records and files of some kinds."""
    store = copy_of(run.store, folder)
    for kind in kinds:
        for record in list(store.records(kind)):
            for artefact in record.artefacts:
                store.delete(artefact.path)
            store.delete(f"records/{kind}/{record.id}.json")
    return store


def jobs_of(run: FinishedRun, *, states: bool = True) -> list[Any]:
    kinds = (DenseStatesJob, EvaluateJob) if states else (EvaluateJob,)
    return [job for job in run.plan.jobs if isinstance(job, kinds)]


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("n_shards", [2, 3])
def test_shards_change_no_byte(run: FinishedRun, tmp_path: Path, n_shards: int) -> None:
    store = again(run, tmp_path / "store", KIND, "evaluations")
    chain = TransportChain(chain_with_masks(Path(run.plan.model.path), n_shards=n_shards))
    for job in jobs_of(run):
        job.run(store, lambda: chain)
    assert results(store) == results(run.store)


def test_a_killed_job_of_states_writes_the_same_bytes_again(
    run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = again(run, tmp_path / "store", KIND, "evaluations")
    chain = functools.cache(lambda: local_chain(Path(run.plan.model.path)))
    job = next(one for one in jobs_of(run) if isinstance(one, DenseStatesJob))
    write, n_written = Store.write_bytes, []

    def killed(self: Store, path: str, data: bytes, **options: Any) -> Any:
        if n_written:
            raise KeyboardInterrupt
        n_written.append(path)
        return write(self, path, data, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            job.run(store, chain)
    assert n_written
    assert not store.has_record(*job.identity.key)
    for one in jobs_of(run):
        one.run(store, chain)
    assert results(store) == results(run.store)


def test_smaller_batches_find_their_states(run: FinishedRun, tmp_path: Path) -> None:
    store = again(run, tmp_path / "store", "evaluations")
    (variant,) = run.named("random")
    job = next(one for one in jobs_of(run, states=False) if one.variant_id == variant.id)
    replace(job, batch_tokens=16).run(store, lambda: local_chain(Path(run.plan.model.path)))
    for evaluation, predictions in evaluations(run, variant.id):
        other = predictions_of(store, evaluation)
        for name, values in predictions.measures.items():
            assert other.measures[name] == pytest.approx(values, rel=1e-3, abs=1e-6)


def test_states_of_smaller_batches_are_found_as_well(run: FinishedRun, tmp_path: Path) -> None:
    store = again(run, tmp_path / "store", KIND, "evaluations")
    chain = functools.cache(lambda: local_chain(Path(run.plan.model.path)))
    for job in jobs_of(run):
        smaller = replace(job, batch_tokens=16) if isinstance(job, DenseStatesJob) else job
        smaller.run(store, chain)
    (variant,) = run.named("random")
    for evaluation, predictions in evaluations(run, variant.id):
        other = predictions_of(store, evaluation)
        assert other.measures["divergence"] == pytest.approx(predictions.measures["divergence"], rel=1e-3, abs=1e-6)


def test_retired_states_are_made_again_by_a_run_that_needs_them(
    run: FinishedRun, tmp_path: Path, tiny_inputs: Path
) -> None:
    store = copy_of(run.store, tmp_path / "store")
    decisions = decide(mask_files(store), Ranking({}, {}), RetentionRules(requires_rank=True))
    states = [one for one in decisions if not one.masks.variant_ids]
    assert [one.is_retired for one in states] == [True] * 4
    assert retire(store, states) == sum(one.masks.n_bytes for one in states) > 0
    assert not list(store.files(KIND))
    assert not pending_jobs(run.plan.jobs, store)
    variants = [*recipe()["variants"], {"name": "more", "score": "random", "sparsity": 0.25}]
    plan = plan_of(write_recipe(tiny_inputs, recipe(variants=variants), name="more.yaml"))
    pending = pending_jobs(plan.jobs, store)
    assert not any(isinstance(job, DenseStatesJob) for job in pending)
    retired = find_retired(plan.jobs, pending, store)
    assert len(retired.needed) == 4
    work = pending_work(plan.jobs, store, Remake(is_wanted=True))
    assert sum(isinstance(job, DenseStatesJob) for job in work.jobs) == 4


def test_log_likelihoods_are_those_of_an_evaluation_without_distance(run: FinishedRun, tmp_path: Path) -> None:
    (variant,) = run.named("random")
    plain = [(replace(one, measurement=None), predictions) for one, predictions in evaluations(run, variant.id)]
    job = next(one for one in jobs_of(run, states=False) if one.variant_id == variant.id)
    store = again(run, tmp_path / "store", "evaluations")
    replace(job, evaluations=tuple(one for one, _ in plain)).run(store, lambda: local_chain(Path(run.plan.model.path)))
    for evaluation, predictions in plain:
        other = predictions_of(store, evaluation)
        assert isinstance(other, Predictions)
        assert not other.measures
        assert other.likelihoods.whole == pytest.approx(predictions.likelihoods.whole, rel=1e-6)


def test_a_rescored_evaluation_keeps_its_distances(run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(run.store, tmp_path / "store")
    rescored = rescore(store, Change(examples=frozenset({"0", "1", "2"})), Selection(tasks=("facts",)))
    metrics = store.require("evaluations", rescored.evaluation_ids[0]).rows["metrics"]
    assert set(MEASURED) <= {row["metric"] for row in metrics}


def test_an_evaluation_without_distances_has_no_such_metric(small_run: FinishedRun) -> None:
    evaluation = next(job for job in small_run.plan.jobs if isinstance(job, EvaluateJob)).evaluations[0]
    with refused(TaskFileError, measure="divergence"):
        METRICS["divergence"].of(predictions_of(small_run.store, evaluation))


@pytest.mark.parametrize(
    "entry",
    [
        {"task": "translation", "path": "corpus", "pairs": ["fr-en"], "distance": True, "longer": "truncate_left"},
        {"task": "facts", "path": "facts", "languages": ["en"], "distance": True, "longer": "truncate_left"},
    ],
)
def test_distances_of_cut_texts_are_refused(entry: dict[str, Any], tiny_inputs: Path) -> None:
    with refused(RecipeError):
        parse_recipe(recipe(evaluations=[entry]), folder=tiny_inputs)


def test_a_question_about_distances_needs_the_key(tiny_inputs: Path) -> None:
    question = {"name": "close", "task": "facts", "variants": "random", "against": "dense", "metric": "divergence"}
    facts = {"task": "facts", "path": "facts", "languages": ["en", "fr"]}
    asked = {**question, "languages": "fr", "claim": "noninferior", "margin": 0.1}
    with refused(RecipeError):
        build_plan(parse_recipe(recipe(evaluations=[facts], questions=[asked]), folder=tiny_inputs))
    with_key = recipe(evaluations=[{**facts, "distance": True}], questions=[asked])
    assert build_plan(parse_recipe(with_key, folder=tiny_inputs)).questions[0].criterion.metric == "divergence"


def test_one_evaluation_with_distances_serves_entries_without(tiny_inputs: Path) -> None:
    facts = {"task": "facts", "path": "facts", "languages": ["en"]}
    plan = build_plan(parse_recipe(recipe(evaluations=[facts, {**facts, "distance": True}]), folder=tiny_inputs))
    for job in plan.jobs:
        if isinstance(job, EvaluateJob):
            assert [one.measurement is not None for one in job.evaluations] == [True]
