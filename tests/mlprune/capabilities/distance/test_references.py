"""Distances of generated texts, measured on their references, and of chats: against transformers in float64."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from catalog.report.page import render_page
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.distance.dense_states import KIND, DenseStatesJob
from mlprune.evaluation.scoring.translation import Translations
from mlprune.models.placement.memory_estimate import footprint
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.evaluate.results import predictions_of
from mlprune.steps.job import block_flops
from mlprune.steps.rescore.verify import Recheck
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.vocabulary import METRIC_TRAITS
from tests.chat_models import ALTERNATING, save_chat_model
from tests.mlprune.capabilities.distance.transformers_distance import expected_measures
from tests.tiny_recipes import FinishedRun, finished_run, plan_of, write_recipe, write_texts

MEASURED = tuple(name for name, traits in METRIC_TRAITS.items() if traits.key == "distance")
TRANSLATION = {"task": "translation", "path": "corpus", "pairs": ["fr-en"], "limit": 3, "shots": 1}
QUESTIONS = {"task": "sums", "path": "sums", "languages": ["fr"]}
CHOICES = {"task": "facts", "path": "facts", "languages": ["fr"], "limit": 2}
SENTENCES = {"task": "perplexity", "path": "corpus", "languages": ["fr"], "limit": 3}
ANSWERS = ("sept", "deux\nII")
"""Accepted answers of a question, one per line."""


def recipe(**changes: Any) -> dict[str, Any]:
    """A variant and one equal to dense, on every kind of text, plain and in a chat."""
    short = {"max_new_tokens": 2, "distance": True}
    return {
        "name": "references",
        "model": {"path": "model"},
        "corpus": {"kind": "parallel_text", "path": "corpus"},
        "tasks": [{"name": "sums", "template": "Q: {q}\nA:", "answer": "a", "generate": {"extract": "all"}}],
        "variants": [
            {"name": "random", "score": "random", "sparsity": 0.5},
            {"name": "same", "score": "magnitude", "sparsity": 0.01},
        ],
        "evaluations": [
            *({**entry, **short, "chat": chat} for entry in (TRANSLATION, QUESTIONS) for chat in (None, True)),
            *({**entry, "distance": True, "chat": True} for entry in (CHOICES, SENTENCES)),
        ],
        "compute": {"batch_tokens": 200},
        **changes,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("references")
    write_texts(folder)
    save_chat_model(folder / "model", ALTERNATING)
    (folder / "sums").mkdir()
    rows = [{"id": number, "q": f"{number} plus ?", "a": ANSWERS[number].split("\n")} for number in range(2)]
    (folder / "sums" / "fr.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return finished_run(folder, recipe(), name="references")


def evaluations(run: FinishedRun, name: str) -> Iterator[EvaluationSpec]:
    """The evaluations of the variant of an entry; of dense if the name is empty."""
    variant_id = run.named(name)[0].id if name else next(iter(run.plan.variants))
    for job in run.plan.jobs:
        if isinstance(job, EvaluateJob) and job.variant_id == variant_id:
            yield from job.evaluations


def generated(run: FinishedRun, name: str) -> list[tuple[EvaluationSpec, Translations]]:
    """The evaluations of generated texts with their predictions."""
    of_variant = ((one, predictions_of(run.store, one)) for one in evaluations(run, name) if one.task.is_generated)
    pairs = [(one, predictions) for one, predictions in of_variant if isinstance(predictions, Translations)]
    assert len(pairs) == 4
    return pairs


def test_references_after_their_prompts_have_the_distances_of_transformers(run: FinishedRun) -> None:
    (variant,) = run.named("random")
    folder = Path(run.plan.model.path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    dense, masked = (load_masked_model(run.store, one, folder) for one in (next(iter(run.plan.variants)), variant.id))
    for evaluation, predictions in generated(run, "random"):
        is_chat = evaluation.task.chat is not None
        for row in (0, len(predictions.example_ids) - 1):
            reference = predictions.references[row].split("\n")[0]
            after = "" if is_chat and evaluation.task.task == "sums" else " "
            prompt, text = predictions.prompts[row] + after, predictions.prompts[row] + after + reference
            ids, context = (tokenizer(one, add_special_tokens=not is_chat)["input_ids"] for one in (text, prompt))
            expected = expected_measures(dense, masked, ids, n_context=len(context))
            assert expected["divergence"] > 0
            expected |= {"n_tokens": len(ids) - len(context), "n_characters": len(reference)}
            measured = {name: float(values[row]) for name, values in predictions.measures.items()}
            assert measured == pytest.approx(expected, rel=2e-4, abs=2e-5), evaluation.task


def test_metrics_are_ratios_of_the_sums_and_those_of_the_task_stay(run: FinishedRun) -> None:
    for evaluation, predictions in generated(run, "random"):
        rows = {row["metric"]: row for row in run.store.require(*evaluation.identity.key).rows["metrics"]}
        of_task = {"bleu", "chrf", "exact_match"} if evaluation.task.sides else {"exact_match", "token_f1"}
        assert set(rows) == {*of_task, *MEASURED}
        for name in MEASURED:
            traits = METRIC_TRAITS[name]
            ratio = float(predictions.measures[traits.measure].sum() / predictions.measures[traits.over].sum())
            assert rows[name]["value"] == pytest.approx(ratio)
            assert rows[name]["ci_low"] <= rows[name]["value"] <= rows[name]["ci_high"]


def test_a_variant_equal_to_dense_has_exactly_no_distance_on_any_text(run: FinishedRun) -> None:
    (same,) = run.named("same")
    assert not same.is_dense
    for name in ("", "same"):
        found = list(evaluations(run, name))
        assert len(found) == 6
        for evaluation in found:
            rows = {row["metric"]: row for row in run.store.require(*evaluation.identity.key).rows["metrics"]}
            values = {measure: (rows[measure]["value"], rows[measure]["ci_high"]) for measure in MEASURED}
            assert values == {**dict.fromkeys(MEASURED, (0.0, 0.0)), "top_agreement": (1.0, 1.0)}


def test_pairs_have_differences_to_dense_and_between_variants(run: FinishedRun) -> None:
    of_pairs = [row for row in run.rows("comparison_results") if row["metric"] == "divergence"]
    (variant,) = run.named("random")
    values = {
        one.identity.id: next(
            row["value"]
            for row in run.store.require(*one.identity.key).rows["metrics"]
            if row["metric"] == "divergence"
        )
        for one, _ in generated(run, "random")
    }
    found = [row for row in of_pairs if row["variant_id"] == variant.id and row["evaluation_id"] in values]
    assert len(found) >= len(values)
    for row in found:
        assert row["difference"] == pytest.approx(values[row["evaluation_id"]])


def test_states_do_not_depend_on_how_many_tokens_are_generated(run: FinishedRun) -> None:
    more = [{**entry, "max_new_tokens": 3} for entry in recipe()["evaluations"][:4]]
    plan = plan_of(write_recipe(run.folder, recipe(evaluations=more), name="more.yaml"))
    states = {job.identity.id for job in plan.jobs if isinstance(job, DenseStatesJob)}
    assert len(states) == 4
    assert states <= {record.id for record in run.store.records(KIND)}


def test_the_references_are_part_of_the_cost(run: FinishedRun) -> None:
    sizes = footprint(Path(run.plan.model.path), "float32")
    flops = []
    for entry in (recipe()["evaluations"][0], {**recipe()["evaluations"][0], "distance": False}):
        plan = plan_of(write_recipe(run.folder, recipe(evaluations=[entry]), name="cost.yaml"))
        flops.append(next(job.cost(sizes, {}).flops for job in plan.jobs if isinstance(job, EvaluateJob)))
    (states,) = (
        job
        for job in run.plan.jobs
        if isinstance(job, DenseStatesJob) and job.source.task.sides and not job.source.task.chat
    )
    texts = states.source.prepared(run.store).texts
    assert flops[0] >= flops[1] + block_flops(sizes, max(len(text.tokens) for text in texts))


def test_stored_results_follow_from_stored_predictions(run: FinishedRun) -> None:
    recheck = Recheck(run.store, lambda _: run.folder / "model")
    records = [*run.store.records("evaluations"), *run.store.records("comparisons")]
    assert [recheck.contradictions(record) for record in records] == [[]] * len(records)


def test_a_reference_longer_than_the_model_counts_nothing_if_it_is_skipped(tmp_path: Path) -> None:
    write_texts(tmp_path)
    save_chat_model(tmp_path / "model", ALTERNATING, positions=60)
    corpus = tmp_path / "corpus"
    lines = [f"{number} cats{' and dogs' * 9 * (number == 3)}\n" for number in range(40)]
    (corpus / "en.txt").write_text("".join(lines))
    entry = {**TRANSLATION, "limit": None, "shots": 0, "max_new_tokens": 2, "distance": True}
    entry = {key: value for key, value in entry.items() if value is not None}
    splits = [{**entry, "split": split, "longer": "skip"} for split in ("dev", "test")]
    finished = finished_run(tmp_path, recipe(evaluations=splits), name="long")
    (variant,) = finished.named("random")
    n_tokens = {}
    for job in finished.plan.jobs:
        if isinstance(job, EvaluateJob) and job.variant_id == variant.id:
            for evaluation in job.evaluations:
                predictions = predictions_of(finished.store, evaluation)
                assert isinstance(predictions, Translations)
                n_tokens |= dict(zip(predictions.example_ids, predictions.measures["n_tokens"].tolist(), strict=True))
    assert n_tokens.pop("3") == 0
    assert len(n_tokens) == 39
    assert min(n_tokens.values()) == len("0 cats")


def test_the_report_has_a_row_per_variant_and_evaluation(run: FinishedRun) -> None:
    with Catalog.in_memory(run.store) as opened:
        rows = opened.query(statement("report", "distance"))
        page = render_page(opened)
    (random,) = run.named("random")
    of_random = {row["evaluation_id"]: row for row in rows if row["variant_id"] == random.id}
    assert set(of_random) == {evaluation.identity.id for evaluation in evaluations(run, "random")}
    assert len(rows) == 2 * len(of_random)
    for evaluation_id, row in of_random.items():
        metrics = run.store.require("evaluations", evaluation_id).rows["metrics"]
        values = {one["metric"]: one["value"] for one in metrics}
        assert {name: row[name] for name in MEASURED} == {name: values[name] for name in MEASURED}
        assert row["divergence_low"] <= row["divergence"] <= row["divergence_high"]
    assert 'id="distance"' in page
