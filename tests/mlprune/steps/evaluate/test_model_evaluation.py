"""Costs of evaluations, counted by hand for the tiny model."""

import functools
import hashlib
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from mlprune.errors import work_of
from mlprune.hashing import split_of
from mlprune.numeric.log_probs import max_logits_of
from mlprune.planning import Plan, build_plan
from mlprune.pruning.mask_files import read_block_weights
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.evaluate.model_evaluation import MASK_BYTES, EvaluateJob, apply_variant, tasks_cost
from mlprune.steps.job import JobCost
from mlprune.steps.tasks.evaluation import EvaluationSpec, shot_lines, task_data
from mlprune.steps.tasks.stored_items import items_identity
from mlprune.steps.variants.variant_rows import stored_masks
from mlprune.store.store import Store
from tests.mlprune.steps.job_costs import costs_by_class, sizes_of
from tests.scored_texts import score_of_text
from tests.tiny_models import HIDDEN, VOCABULARY, tiny_tokenizer
from tests.tiny_recipes import (
    CORPUS,
    N_FACTS,
    N_LINES,
    FinishedRun,
    chain_of,
    contents,
    fact,
    reference_model,
    run_plan,
    small_recipe,
)


def test_an_evaluation_costs_the_head_and_one_pass_per_generated_token(tiny_plan: Plan) -> None:
    for job, cost in costs_by_class(tiny_plan, EvaluateJob):
        tasks = [evaluation.task.task for evaluation in job.evaluations]
        n_translations = tasks.count("translation")
        assert cost.n_passes == 1 + len(tasks) - n_translations + 4 * n_translations
        assert cost.flops > 2 * HIDDEN * VOCABULARY * len(tasks)
        assert cost.thread_bytes > 128 * VOCABULARY * 4


def test_an_accelerator_needs_memory_for_its_larger_parts_of_logits(tiny_plan: Plan) -> None:
    def thread_bytes(device: str, batch_tokens: int) -> list[int]:
        jobs = [replace(job, batch_tokens=batch_tokens) for job in tiny_plan.jobs if isinstance(job, EvaluateJob)]
        jobs = [replace(job, model=replace(job.model, device=device)) for job in jobs]
        return [cost.thread_bytes for _, cost in costs_by_class(replace(tiny_plan, jobs=tuple(jobs)), EvaluateJob)]

    assert thread_bytes("cuda", 16) == thread_bytes("cpu", 16)
    for on_gpu, on_cpu in zip(thread_bytes("cuda", 65_536), thread_bytes("cpu", 65_536), strict=True):
        assert on_gpu - on_cpu >= 4 * (65_536 * VOCABULARY - max_logits_of("cpu")) > 0


@pytest.mark.parametrize(("n_weights", "expected"), [(2**20, 2**20 + 2**17), (2**30, 2**28 + 2**27)])
def test_a_swap_keeps_a_bit_per_weight_and_some_levels_in_main_memory(
    tiny_plan: Plan, n_weights: int, expected: int
) -> None:
    def cost(weights: int) -> JobCost:
        sizes = replace(sizes_of(tiny_plan), blocks=(1,), prunable=(weights,))
        return tasks_cost("evaluate", sizes, (), batch_tokens=8, device="cuda")

    small, large = cost(8), cost(n_weights)
    masks_of_a_block = MASK_BYTES * (n_weights - 8)
    kept_by_small = 8 + 1
    assert large.fixed_bytes - small.fixed_bytes == expected - kept_by_small + masks_of_a_block
    assert large.device_fixed_bytes - small.device_fixed_bytes == masks_of_a_block


END = "</s>"


def job_of(run: FinishedRun, label: str) -> EvaluateJob:
    ids = {variant.label: variant.id for variant in run.plan.variants.values()}
    return next(job for job in run.plan.jobs if isinstance(job, EvaluateJob) and job.variant_id == ids[label])


def evaluation(run: FinishedRun, label: str, task: str, language: str) -> EvaluationSpec:
    key = (task, language)
    return next(spec for spec in job_of(run, label).evaluations if (spec.task.task, spec.task.language) == key)


def predictions(run: FinishedRun, spec: EvaluationSpec) -> dict[str, list[Any]]:
    return run.store.read_table(run.store.require(*spec.identity.key).artefacts[0])


def metrics_of(run: FinishedRun, spec: EvaluationSpec) -> dict[str, dict[str, Any]]:
    record = run.store.require(*spec.identity.key)
    return {row["metric"]: row for row in record.rows["metrics"]}


def pruned_model(run: FinishedRun, label: str) -> Any:
    """The transformers model with a variant's weights changed and set to zero."""
    model = reference_model(run.folder / "model")
    variant_id = job_of(run, label).variant_id
    stored = stored_masks(run.store, run.store.require("variants", variant_id))
    for block, artefact in enumerate(stored.weights if stored else ()):
        for layer, weight in read_block_weights(run.store, artefact).items():
            model.model.layers[block].get_submodule(layer).weight.data = weight
    for (block, layer), mask in run.keep_masks(variant_id).items():
        model.model.layers[block].get_submodule(layer).weight.data[~mask] = 0
    return model


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(
    "label", ["dense", "wanda fr-en 0.5 row dense", "contrast sw-en against code 0.5 row sequential"]
)
def test_candidates_have_the_scores_of_each_text_alone_in_the_pruned_model(tiny_run: FinishedRun, label: str) -> None:
    assert_scored_as_alone(tiny_run, label)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ["sparsegpt", "sparsegpt-scope", "rest"])
def test_changed_weights_and_combined_masks_are_evaluated(method_run: FinishedRun, name: str) -> None:
    variant = method_run.named(name)[0]
    assert_scored_as_alone(method_run, variant.label)
    dense, changed = (
        predictions(method_run, evaluation(method_run, label, "facts", "fr")) for label in ("dense", variant.label)
    )
    assert dense["log_likelihood"] != pytest.approx(changed["log_likelihood"], abs=1e-2)


def assert_scored_as_alone(run: FinishedRun, label: str) -> None:
    table = predictions(run, evaluation(run, label, "facts", "fr"))
    model = pruned_model(run, label)
    row = 0
    for number in range(N_FACTS):
        item = fact("fr", number)
        for index, candidate in enumerate(item["candidates"]):
            expected = score_of_text(model, item["prompt"].replace("<mask>", candidate))
            assert (table["example_id"][row], table["candidate_index"][row]) == (str(number), index)
            assert (table["candidate"][row], table["is_gold"][row]) == (candidate, index == item["answer"])
            assert table["log_likelihood"][row] == pytest.approx(expected[0], abs=1e-4)
            assert table["n_tokens"][row] == expected[1]
            row += 1
    assert row == len(table["example_id"])


def test_accuracy_is_the_share_of_items_whose_gold_has_the_highest_mean(tiny_run: FinishedRun) -> None:
    spec = evaluation(tiny_run, "random 0.5 row", "facts", "en")
    table = predictions(tiny_run, spec)
    right = 0
    for start in range(0, 3 * N_FACTS, 3):
        means = [table["log_likelihood"][row] / table["n_tokens"][row] for row in range(start, start + 3)]
        right += table["is_gold"][start + means.index(max(means))]
    row = metrics_of(tiny_run, spec)["accuracy"]
    assert (row["value"], row["n"]) == (right / N_FACTS, N_FACTS)
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    assert set(metrics_of(tiny_run, spec)) == {"accuracy", "ece"}


def test_perplexity_is_that_of_the_chosen_lines_of_the_split(tiny_run: FinishedRun) -> None:
    spec = evaluation(tiny_run, "dense", "perplexity", "fr")
    lines = [line for line in range(N_LINES) if split_of(line) == "test"]
    lines = sorted(lines, key=lambda line: hashlib.sha256(f"0:{line}".encode()).hexdigest())[:4]
    model = reference_model(tiny_run.folder / "model")
    scored = [score_of_text(model, CORPUS["fr"].format(n=line)) for line in lines]
    expected = math.exp(-sum(value for value, _ in scored) / sum(n for _, n in scored))
    row = metrics_of(tiny_run, spec)["perplexity"]
    assert row["value"] == pytest.approx(expected, rel=1e-5)
    assert predictions(tiny_run, spec)["example_id"] == [str(line) for line in sorted(lines)]


def test_translations_are_generated_after_the_prompt(tiny_run: FinishedRun) -> None:
    spec = evaluation(tiny_run, "magnitude 0.5 row", "translation", "fr-en")
    table = predictions(tiny_run, spec)
    evaluated = [int(line) for line in table["example_id"]]
    order = sorted(range(N_LINES), key=lambda line: hashlib.sha256(f"0:{line}".encode()).hexdigest())
    shot = next(line for line in order if line not in evaluated)
    assert shot_lines(spec.task) == (shot,)
    model, tokenizer = pruned_model(tiny_run, "magnitude 0.5 row"), tiny_tokenizer()
    for line, prompt, output, reference in zip(
        evaluated, table["prompt"], table["output"], table["reference"], strict=True
    ):
        fr, en = CORPUS["fr"], CORPUS["en"]
        start = f"French: {fr.format(n=shot)}{END}English: {en.format(n=shot)}{END}"
        assert prompt == f"{start}French: {fr.format(n=line)}{END}English:"
        assert reference == en.format(n=line)
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        with torch.no_grad():
            made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False)
        assert output == tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True).strip()
    assert set(metrics_of(tiny_run, spec)) == {"bleu", "chrf", "exact_match"}


def test_the_row_describes_the_evaluation(tiny_run: FinishedRun) -> None:
    spec = evaluation(tiny_run, "dense", "perplexity", "en")
    (row,) = tiny_run.store.require(*spec.identity.key).rows["evaluations"]
    ids = {"evaluation_id": spec.identity.id, "variant_id": job_of(tiny_run, "dense").variant_id}
    ids |= {"protocol_id": spec.task.protocol.id, "items_id": items_identity(spec.task, spec.identity.contents).id}
    task = {"task": "perplexity", "language": "en", "split": "test", "scoring_rule": "sum"}
    prompts = {"prompts": "en", "prompt_language": "en", "example_limit": 4, "n_examples": 4, "limit_seed": 0}
    nothing = ("n_shots", "shot_seed", "max_new_tokens", "metric_names", "subset_n_asked", "subset_sha256")
    assert row == {**ids, **task, **prompts, **dict.fromkeys(nothing)}


def test_a_limit_keeps_the_same_items_in_every_language(tiny_run: FinishedRun) -> None:
    ids = [
        [item.example_id for item in task_data(evaluation(tiny_run, "dense", "perplexity", language).task).items]
        for language in ("en", "fr")
    ]
    assert ids[0] == ids[1]


def test_a_killed_evaluation_repeats_only_what_is_missing(small_run: FinishedRun, copied_store: Any) -> None:
    job = job_of(small_run, "wanda fr-en 0.5 row dense")
    store: Store = copied_store(small_run.store)
    kept, lost = (store.require(*spec.identity.key) for spec in job.evaluations)
    store.quarantine(lost)
    stamp = (store.local_root / kept.artefacts[0].path).stat().st_mtime_ns
    job.run(store, functools.cache(lambda: chain_of(small_run.plan)))
    assert (store.local_root / kept.artefacts[0].path).stat().st_mtime_ns == stamp
    assert contents(store) == contents(small_run.store)


def test_masks_are_removed_when_the_dense_variant_is_evaluated_after_another(
    small_run: FinishedRun, copied_store: Any
) -> None:
    store: Store = copied_store(small_run.store)
    chain = chain_of(small_run.plan)
    apply_variant(chain, store, job_of(small_run, "wanda fr-en 0.5 row sequential").variant_id)
    job = job_of(small_run, "dense")
    for spec in job.evaluations:
        store.quarantine(store.require(*spec.identity.key))
    job.run(store, lambda: chain)
    assert contents(store) == contents(small_run.store)


def test_an_error_of_the_model_says_which_evaluation_variant_and_items_it_concerns(
    small_run: FinishedRun, copied_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Store = copied_store(small_run.store)
    job = job_of(small_run, "dense")
    spec = next(spec for spec in job.evaluations if spec.task.task == "facts")
    store.quarantine(store.require(*spec.identity.key))
    chain = chain_of(small_run.plan)

    def broken(*_: object) -> Any:
        raise AssertionError("padding_idx")
        yield

    monkeypatch.setattr(chain, "stream", broken)
    with pytest.raises(AssertionError) as raised:
        job.run(store, lambda: chain)
    work = work_of(raised.value)
    first = str(predictions(small_run, spec)["example_id"][0])
    assert f"facts {spec.task.language} {spec.task.split}" in work
    assert f"items {first}" in work
    assert job.variant_id in work
    assert all(f"{one.task.task} {one.task.language} {one.task.split}" in job.work for one in job.evaluations)


def test_changed_weights_are_restored_when_another_variant_is_evaluated(
    method_run: FinishedRun, copied_store: Any
) -> None:
    store: Store = copied_store(method_run.store)
    chain = chain_of(method_run.plan)
    apply_variant(chain, store, method_run.named("sparsegpt")[0].id)
    for label in ("dense", method_run.named("rest")[0].label):
        job = job_of(method_run, label)
        for spec in job.evaluations:
            store.quarantine(store.require(*spec.identity.key))
        job.run(store, lambda: chain)
    assert contents(store) == contents(method_run.store)


@pytest.mark.thorough("runs a model for every case")
def test_other_batches_only_change_the_last_bits_of_log_likelihoods(small_run: FinishedRun, tmp_path: Any) -> None:
    recipe = small_recipe()
    recipe["compute"]["batch_tokens"] = 1000
    plan = build_plan(parse_recipe(recipe, folder=small_run.folder))
    other = FinishedRun(small_run.recipe_path, plan, Store(tmp_path / "store"))
    run_plan(plan, other.store)
    for variant in plan.variants.values():
        for language in ("en", "fr"):
            specs = [evaluation(run, variant.label, "facts", language) for run in (small_run, other)]
            assert specs[0].identity.id != specs[1].identity.id
            first, second = (predictions(run, spec) for run, spec in zip((small_run, other), specs, strict=True))
            assert first["log_likelihood"] == pytest.approx(second["log_likelihood"], abs=1e-5)
            assert first["example_id"] == second["example_id"]
