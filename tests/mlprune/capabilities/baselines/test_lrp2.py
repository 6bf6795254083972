"""Stored results of LRP2, compared with transformers with two hooks and means over plain loops."""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from mlprune.capabilities.baselines.hidden_means import HiddenMeansJob, mean_states
from mlprune.capabilities.baselines.lrp2 import PairChoiceJob, TrialJob, shifts
from mlprune.errors import DamagedArtefactError
from mlprune.models.local_chain import local_chain
from mlprune.models.shard import Shard
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.evaluate.results import predictions_of
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.store.store import Store
from tests.scored_texts import score_of_text
from tests.tiny_recipes import (
    N_FACTS,
    FinishedRun,
    chain_of,
    fact,
    reference_model,
    results,
    run_plan,
    store_with_sets,
)

N_DEV = 2 * N_FACTS


def jobs_of(run: FinishedRun, kind: type[Any]) -> list[Any]:
    return [job for job in run.plan.jobs if isinstance(job, kind)]


def variant(run: FinishedRun, name: str) -> PlannedVariant:
    (matching,) = run.named(name) or [planned for planned in run.plan.variants.values() if planned.label == name]
    return matching


def evaluations(run: FinishedRun, name: str) -> dict[tuple[str, str], Any]:
    """(language, rule) -> evaluation on facts."""
    (job,) = (one for one in jobs_of(run, EvaluateJob) if one.variant_id == variant(run, name).id)
    return {(one.task.language, one.task.rule): one for one in job.evaluations if one.task.task == "facts"}


def language_means(run: FinishedRun) -> dict[str, Tensor]:
    """[n_blocks, d] float64 of each language, computed text by text with the plain model."""
    model, sums, counts = reference_model(run.folder / "model"), {}, {}
    for job in jobs_of(run, HiddenMeansJob):
        record = run.store.require("demonstration_sets", job.demonstration_set_id)
        language = record.rows["demonstration_sets"][0]["source_language"]
        for ids in run.store.read_table(record.artefacts[0])["token_ids"]:
            states = block_outputs(model, ids)
            sums[language] = sums.get(language, 0.0) + states.sum(dim=1)
            counts[language] = counts.get(language, 0) + len(ids)
    return {language: sums[language] / counts[language] for language in sums}


def block_outputs(model: Any, ids: list[int]) -> Tensor:
    """[n_blocks, tokens, d] float64."""
    states: list[Tensor] = []

    def keep(_: Any, __: Any, out: Any) -> None:
        states.append((out[0] if isinstance(out, tuple) else out)[0].double())

    handles = [block.register_forward_hook(keep) for block in model.model.layers]
    with torch.no_grad():
        model(input_ids=torch.tensor([list(ids)]))
    for handle in handles:
        handle.remove()
    return torch.stack(states)


def scores_of(model: Any, language: str, number: int) -> list[float]:
    """Mean log-probability of each candidate's text, scored alone."""
    item = fact(language, number)
    scored = [score_of_text(model, item["prompt"].replace("<mask>", candidate)) for candidate in item["candidates"]]
    return [total / n_tokens for total, n_tokens in scored]


def projected_model(run: FinishedRun, means: dict[str, Tensor], language: str, pair: tuple[int, int]) -> Any:
    """The plain model with a hook after each of two blocks."""
    model = reference_model(run.folder / "model")
    to_english = means["en"] - means[language]
    for block, sign in zip(pair, (1, -1), strict=True):

        def move(_: Any, __: Any, out: Any, *, vector: Tensor = sign * to_english[block]) -> Any:
            moved = (out[0] if isinstance(out, tuple) else out) + vector.float()
            return (moved, *out[1:]) if isinstance(out, tuple) else moved

        model.model.layers[block].register_forward_hook(move)
    return model


@pytest.fixture(scope="module")
def means(baseline_run: FinishedRun) -> dict[str, Tensor]:
    return language_means(baseline_run)


def test_a_mean_state_is_the_mean_over_all_tokens_of_a_language(
    baseline_run: FinishedRun, means: dict[str, Tensor]
) -> None:
    stored = {}
    for job in jobs_of(baseline_run, HiddenMeansJob):
        record = baseline_run.store.require("demonstration_sets", job.demonstration_set_id)
        language = record.rows["demonstration_sets"][0]["source_language"]
        stored[language] = mean_states(baseline_run.store, job.identity.id)
        (row,) = baseline_run.store.require(*job.identity.key).rows["hidden_means"]
        assert row["n_tokens"] == record.rows["demonstration_sets"][0]["n_tokens"]
    assert set(stored) == set(means) == {"en", "fr", "sw"}
    for language, expected in means.items():
        torch.testing.assert_close(stored[language], expected, rtol=1e-5, atol=1e-6)


def test_states_are_moved_to_english_and_back_by_the_same_rule() -> None:
    generator = torch.Generator().manual_seed(0)
    language, english = (torch.randn(4, 3, generator=generator).double() for _ in range(2))
    vectors = shifts(language, english, (1, 3))
    assert set(vectors) == {1, 3}
    assert torch.equal(vectors[1], english[1] - language[1])
    assert torch.equal(vectors[3], language[3] - english[3])


@pytest.mark.parametrize("language", ["fr", "sw"])
def test_texts_are_scored_as_by_the_plain_model_with_two_hooks(
    baseline_run: FinishedRun, means: dict[str, Tensor], language: str
) -> None:
    model = projected_model(baseline_run, means, language, (0, 2))
    expected = [scores_of(model, language, number) for number in range(N_FACTS)]
    stored = predictions_of(baseline_run.store, evaluations(baseline_run, "fixed")[language, "mean"])
    assert [list(scores) for scores in stored.item_scores()] == [pytest.approx(values, abs=1e-5) for values in expected]
    plain = predictions_of(baseline_run.store, evaluations(baseline_run, "dense")[language, "mean"])
    assert [list(scores) for scores in plain.item_scores()] != [pytest.approx(values, abs=1e-3) for values in expected]


def test_english_texts_are_not_moved(baseline_run: FinishedRun) -> None:
    files = {}
    for name in ("dense", "fixed", "lrp2"):
        evaluation = evaluations(baseline_run, name)["en", "mean"]
        assert set(evaluation.identity.parents) == {"variant"}
        files[name] = baseline_run.store.require(*evaluation.identity.key).artefacts[0].sha256
    assert len(set(files.values())) == 1


def test_the_chosen_pair_is_the_best_on_dev(baseline_run: FinishedRun, means: dict[str, Tensor]) -> None:
    trials = baseline_run.rows("lrp2_trials")
    pairs = list(itertools.combinations(range(3), 2))
    assert len(trials) == len(pairs) * 2 * 2
    assert {(row["split"], row["n"], row["metric"]) for row in trials} == {("dev", N_DEV, "accuracy")}
    for key in itertools.product(("fr", "sw"), ("mean", "candidate_sum")):
        of_key = [row for row in trials if (row["language"], row["scoring_rule"]) == key]
        values = {(row["first_block"], row["second_block"]): row["value"] for row in of_key}
        assert set(values) == set(pairs)
        choices = baseline_run.rows("lrp2_choices")
        (choice_row,) = (row for row in choices if (row["language"], row["scoring_rule"]) == key)
        best = max(pairs, key=lambda pair: (values[pair], [-block for block in pair]))
        assert (choice_row["first_block"], choice_row["second_block"], choice_row["value"]) == (*best, values[best])
        assert (choice_row["n_trials"], choice_row["variant_id"]) == (len(pairs), variant(baseline_run, "lrp2").id)


def test_a_trial_is_the_accuracy_of_the_plain_model_with_two_hooks_on_dev(
    baseline_run: FinishedRun, means: dict[str, Tensor]
) -> None:
    model = projected_model(baseline_run, means, "fr", (1, 2))
    right = 0
    for number in range(N_FACTS, N_FACTS + N_DEV):
        scores = scores_of(model, "fr", number)
        right += scores.index(max(scores)) == fact("fr", number)["answer"]
    names = ("language", "scoring_rule", "first_block", "second_block")
    rows = {tuple(row[name] for name in names): row for row in baseline_run.rows("lrp2_trials")}
    row = rows["fr", "mean", 1, 2]
    assert row["value"] == right / N_DEV


def test_test_is_evaluated_with_the_pair_that_dev_chose(baseline_run: FinishedRun, means: dict[str, Tensor]) -> None:
    for language in ("fr", "sw"):
        evaluation = evaluations(baseline_run, "lrp2")[language, "mean"]
        record = baseline_run.store.require("lrp2_choices", evaluation.identity.parents["choice"])
        choice = record.rows["lrp2_choices"][0]
        model = projected_model(baseline_run, means, language, (choice["first_block"], choice["second_block"]))
        scores = predictions_of(baseline_run.store, evaluation).item_scores()
        assert list(scores[0]) == pytest.approx(scores_of(model, language, 0), abs=1e-5)


def test_the_choice_does_not_depend_on_test(baseline_run: FinishedRun) -> None:
    for job in jobs_of(baseline_run, TrialJob):
        assert {evaluation.task.split for evaluation in job.evaluations} == {"dev"}
    tests = {evaluation.identity.id for job in jobs_of(baseline_run, EvaluateJob) for evaluation in job.evaluations}
    for job in jobs_of(baseline_run, PairChoiceJob):
        assert {kind for kind, _ in job.needs} == {"lrp2_trials"}
        assert not tests & {key for _, key in job.needs}


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("n_shards", [2, 3])
def test_a_chain_of_shards_gives_the_same_records(baseline_run: FinishedRun, tmp_path: Path, n_shards: int) -> None:
    kinds = ("hidden_means", "lrp2_trials", "lrp2_choices")
    set_ids = (key for _, key in baseline_run.store.record_names("demonstration_sets"))
    store = store_with_sets(baseline_run, *set_ids, folder=tmp_path)
    model = baseline_run.plan.model
    chain = functools.cache(lambda: local_chain(Path(model.path), n_shards=n_shards, dtype=model.dtype))
    for job in baseline_run.plan.jobs:
        if isinstance(job, HiddenMeansJob | TrialJob | PairChoiceJob):
            job.run(store, chain)
    expected, sharded = results(baseline_run.store), results(store)
    names = [name for name in expected if name.split("/")[1] in kinds or name.startswith("means/")]
    assert len(names) > len(kinds)
    assert {name: sharded[name] for name in names} == {name: expected[name] for name in names}


def test_a_killed_search_resumes_with_the_missing_trials(
    baseline_run: FinishedRun, copied_store: Callable[[Store], Store]
) -> None:
    store = copied_store(baseline_run.store)
    expected = results(store)
    root = store.local_root
    assert root is not None
    first, *_ = jobs_of(baseline_run, TrialJob)
    for job in jobs_of(baseline_run, TrialJob)[1:]:
        for kind, record_id in job.makes:
            (root / f"records/{kind}/{record_id}.json").unlink()
    (root / "records/{}/{}.json".format(*first.makes[0])).unlink()
    chain = chain_of(baseline_run.plan)
    with patch.object(chain, "stream", wraps=chain.stream) as stream:
        first.run(store, lambda: chain)
    assert stream.call_count == 1
    run_plan(baseline_run.plan, store)
    assert results(store) == expected


def test_the_model_is_restored_after_a_job_that_fails(
    baseline_run: FinishedRun, copied_store: Callable[[Store], Store]
) -> None:
    store = copied_store(baseline_run.store)
    chain = chain_of(baseline_run.plan)
    job = next(trial_job for trial_job in jobs_of(baseline_run, TrialJob))
    for kind, record_id in job.makes:
        assert store.local_root is not None
        (store.local_root / f"records/{kind}/{record_id}.json").unlink()
    failing = patch.object(chain, "stream", side_effect=DamagedArtefactError("as if"))
    with patch.object(chain, "everywhere") as everywhere, failing, pytest.raises(DamagedArtefactError):
        job.run(store, lambda: chain)
    asked = [(method, argument is None) for method, argument in (call.args for call in everywhere.call_args_list)]
    assert asked == [(Shard.set_keep_masks, True), (Shard.set_shifts, False), (Shard.set_shifts, True)]
