"""Rows that answer a question: families, margins, means over variants and seeds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlprune.numeric.statistics.multiplicity import holm
from mlprune.plan import Plan, pending_jobs
from mlprune.steps.evaluate.results import predictions_of
from mlprune.steps.questions.answers import AnswerJob, Compared, answer_rows
from mlprune.steps.questions.evidence import Criterion, Evidence
from mlprune.store.store import Store
from tests.mlprune.steps.questions.comparison_records import changed, cluster_evidence
from tests.tiny_recipes import FinishedRun

GAIN = Criterion("accuracy", "language", "en")
MEAN = Criterion("accuracy", "outside_english", over="mean")


def compared(parts: Sequence[Evidence], seeds: Sequence[int | None] = ()) -> list[Compared]:
    seeds = seeds or [None] * len(parts)
    return [
        Compared(f"c{i}", f"v{i}", "dense", n_languages=1, seed=seed, chance=0.25, evidence=part)
        for i, (part, seed) in enumerate(zip(parts, seeds, strict=True))
    ]


def rows_of(criterion: Criterion, parts: Sequence[Evidence], seeds: Sequence[int | None] = ()) -> list[dict[str, Any]]:
    return [dict(row) for row in answer_rows("q", criterion, compared(parts, seeds))]


def test_each_variant_has_a_row_with_the_p_value_of_its_family() -> None:
    parts = [cluster_evidence(changed(12, 1)), cluster_evidence(changed(6, 0)), cluster_evidence(changed(3, 3))]
    rows = rows_of(GAIN, parts)
    assert [row["variant_id"] for row in rows] == ["v0", "v1", "v2"]
    assert {row["n_family"] for row in rows} == {3}
    p_values = [row["p_value"] for row in rows]
    assert [row["p_holm"] for row in rows] == pytest.approx(holm(p_values))
    assert all(row["p_value"] <= row["p_max_t"] <= 1 for row in rows)
    assert [row["is_supported"] for row in rows] == [True, rows[1]["p_max_t"] < 0.05, False]


def test_a_large_family_makes_a_small_gain_insignificant() -> None:
    generator = np.random.default_rng(0)
    noise = [cluster_evidence(list(generator.permutation(changed(9, 9)))) for _ in range(59)]
    alone, (first, *_) = (
        rows_of(GAIN, [cluster_evidence(changed(7, 0))]),
        rows_of(GAIN, [cluster_evidence(changed(7, 0)), *noise]),
    )
    assert alone[0]["is_supported"]
    assert not first["is_supported"]
    assert first["smallest_significant"] > alone[0]["smallest_significant"] == 5 / 40
    assert first["detectable_difference"] > alone[0]["detectable_difference"]


def test_a_significant_loss_is_no_gain_and_of_a_loss_metric_it_is_one() -> None:
    part = cluster_evidence(changed(0, 12))
    assert [row["is_supported"] for row in rows_of(GAIN, [part])] == [False]
    assert [row["is_supported"] for row in rows_of(Criterion("perplexity", "language", "en"), [part])] == [True]


def test_without_contributions_the_family_has_holms_correction() -> None:
    parts = [cluster_evidence(changed(12, 1)), cluster_evidence(changed(6, 0))]
    bare = [Evidence(part.row, (), np.zeros(0), np.zeros(0)) for part in parts]
    rows = rows_of(GAIN, bare)
    assert [row["p_max_t"] for row in rows] == [None, None]
    assert rows[0]["is_supported"] == (rows[0]["p_holm"] < 0.05)


def test_non_inferiority_is_corrected_over_the_family() -> None:
    criterion = Criterion("accuracy", "language", "en", claim="noninferior", margin=0.02)
    items = cluster_evidence(changed(0, 0, n=150), test="tango")
    (alone,), several = rows_of(criterion, [items]), rows_of(criterion, [items] * 4)
    assert alone["p_margin"] == pytest.approx(0.98**150)
    assert alone["ci90_low"] > -0.02
    assert (alone["is_supported"], alone["margin"]) == (True, 0.02)
    assert {row["p_margin"] for row in several} == {alone["p_margin"]}
    assert [row["p_margin_holm"] for row in several] == pytest.approx([4 * alone["p_margin"]] * 4)
    assert not any(row["is_supported"] for row in several)


def test_the_mean_pools_clusters_over_variants() -> None:
    generator = np.random.default_rng(3)
    shared = generator.normal(0.02, 0.1, 40)
    parts = [cluster_evidence(list(shared + generator.normal(0, 0.05, 40))) for _ in range(5)]
    (row,) = rows_of(MEAN, parts)
    assert (row["comparison_id"], row["variant_id"], row["baseline_id"]) == ("", None, "dense")
    assert (row["n_variants"], row["n_family"], row["n_seeds"]) == (5, 1, 0)
    means = np.mean([part.contributions for part in parts], axis=0)
    assert row["difference"] == pytest.approx(means.mean())
    assert row["standard_error"] == pytest.approx(means.std(ddof=1) / np.sqrt(40))
    assert row["ci_low"] < row["ci90_low"] < row["difference"] < row["ci90_high"] < row["ci_high"]


def test_shared_items_keep_the_error_of_a_mean_from_shrinking() -> None:
    part = cluster_evidence(list(np.random.default_rng(4).normal(0, 0.2, 40)))
    (one,), (many,) = rows_of(MEAN, [part]), rows_of(MEAN, [part] * 10)
    assert many["standard_error"] == pytest.approx(one["standard_error"])


def test_several_seeds_widen_the_interval_and_one_seed_makes_it_conditional() -> None:
    generator = np.random.default_rng(5)
    parts = [cluster_evidence(list(generator.normal(shift, 0.05, 40))) for shift in (-0.2, -0.1, 0, 0.1, 0.2)]
    (one_draw,), (five_draws,) = rows_of(MEAN, parts, [0] * 5), rows_of(MEAN, parts, range(5))
    assert (one_draw["n_seeds"], one_draw["conditional_on_one_draw"]) == (1, True)
    assert (five_draws["n_seeds"], five_draws["conditional_on_one_draw"]) == (5, False)
    assert one_draw["difference"] == pytest.approx(five_draws["difference"])
    assert five_draws["ci_high"] - five_draws["ci_low"] > 3 * (one_draw["ci_high"] - one_draw["ci_low"])


def test_seeds_without_any_change_have_the_interval_of_what_was_not_seen() -> None:
    parts = [cluster_evidence(changed(0, 0)) for _ in range(2)]
    (row,) = rows_of(MEAN, parts, range(2))
    assert (row["interval"], row["p_value"], row["detectable_difference"]) == ("sign_flip", 1.0, None)
    assert row["ci_low"] < row["ci90_low"] < 0 < row["ci90_high"] < row["ci_high"]


def test_the_worst_language_detects_what_its_interval_and_its_error_allow() -> None:
    part = cluster_evidence(changed(3, 1), test="minima", ci_low=-0.08, ci_high=0.14, standard_error=0.03)
    criterion = Criterion("accuracy", "worst")
    (alone,), (first, *_) = rows_of(criterion, [part]), rows_of(criterion, [part] * 6)
    assert alone["detectable_difference"] == pytest.approx(0.13 + 0.8416 * 0.03, rel=1e-3)
    assert first["detectable_difference"] > alone["detectable_difference"]


def test_no_difference_between_sets_is_equivalence_within_a_margin() -> None:
    criterion = Criterion("accuracy", "outside_english", claim="equivalent", margin=0.03, over="mean")
    generator = np.random.default_rng(6)
    parts = [cluster_evidence(list(generator.normal(-0.003, 0.05, 120))) for _ in range(6)]
    (row,) = rows_of(criterion, parts)
    assert row["is_supported"]
    assert -0.03 < row["ci90_low"] < row["ci90_high"] < 0.03
    assert row["p_value"] > 0.05


def test_a_single_cluster_has_an_answer_without_an_error() -> None:
    part = cluster_evidence(changed(1, 1))
    single = Evidence({**part.row, "standard_error": None, "n_clusters": 1}, ("c",), np.zeros(1), np.ones(1))
    for criterion in (GAIN, MEAN):
        (row,) = rows_of(criterion, [single])
        assert (row["is_supported"], row["detectable_difference"]) == (False, None)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_interval_of_a_mean_has_no_0_if_its_test_rejects_0(sign: float) -> None:
    sizes = np.array([1.0] * 7 + [20.0] * 33)
    sizes /= sizes.sum()
    contributions = sign * np.where(np.arange(40) < 7, sizes, 0.0)
    part = replace(cluster_evidence(changed(7, 0)), contributions=contributions, sizes=sizes)
    (row,) = rows_of(MEAN, [part])
    assert row["p_value"] < 0.05
    ends = (row["ci_low"], row["ci_high"])
    assert 0.0 in ends  # an interval that ends at 0 excludes 0 if p < 0.05
    assert sign * sum(ends) > 0


def answers(store: Store, plan: Plan, **criterion: Any) -> list[dict[str, Any]]:
    """The rows of the question with these values."""
    (question,) = [
        one for one in plan.questions if criterion.items() <= {"task": one.family.task, **vars(one.criterion)}.items()
    ]
    return [dict(row) for row in store.require("answers", question.id).rows["answers"]]


def test_every_question_of_a_run_is_answered(tiny_run: FinishedRun) -> None:
    jobs = [job for job in tiny_run.plan.jobs if isinstance(job, AnswerJob)]
    assert [job.identity.id for job in jobs] == [question.id for question in tiny_run.plan.questions]
    for job, question in zip(jobs, tiny_run.plan.questions, strict=True):
        record = tiny_run.store.require("answers", question.id)
        assert record.parents["comparisons"] == [key[1] for key in job.needs]
        assert len(record.rows["answers"]) == question.n_tests
        for row in record.rows["answers"]:
            is_worst = question.criterion.group_kind == "worst"
            assert (row["p_max_t"] is None) == is_worst
            corrected = row["p_holm"] if is_worst else row["p_max_t"]
            assert 0 < row["p_value"] <= max(corrected, row["p_value"]) <= 1  # type: ignore[type-var, operator]


def test_a_question_in_english_has_the_difference_of_the_predictions(tiny_run: FinishedRun) -> None:
    plan, store = tiny_run.plan, tiny_run.store
    rows = {row["variant_id"]: row for row in answers(store, plan, task="facts", group_kind="language")}
    (question,) = [one for one in plan.questions if one.family.task == "facts" and one.criterion.group_name == "en"]
    for comparison in question.comparisons:
        pair = next(pair for pair in comparison.pairs if pair[0].task.language == "en")
        ours, theirs = (predictions_of(store, evaluation) for evaluation in pair)
        assert rows[comparison.variant_id]["n_items"] == len(ours.example_ids) == len(theirs.example_ids)
    chances = {row["chance"] for row in rows.values()}
    assert len(chances) == 1
    assert 0 < chances.pop() < 1


def test_answers_are_pending_until_they_are_in_the_store(tiny_run: FinishedRun, tmp_path: Path) -> None:
    plan = tiny_run.plan
    empty = Store(str(tmp_path))
    pending = [job for job in pending_jobs(plan.jobs, empty) if isinstance(job, AnswerJob)]
    assert len(pending) == len(plan.questions)
    assert not [job for job in pending_jobs(plan.jobs, tiny_run.store) if isinstance(job, AnswerJob)]


@pytest.mark.parametrize("kind", ["outside_english", "worst"])
def test_groups_have_the_difference_of_the_comparison(tiny_run: FinishedRun, kind: str) -> None:
    for row in answers(tiny_run.store, tiny_run.plan, task="facts", group_kind=kind):
        record = tiny_run.store.require("comparisons", row["comparison_id"])
        (result,) = [
            one for one in record.rows["aggregate_results"] if (one["group_kind"], one["metric"]) == (kind, "accuracy")
        ]
        assert (row["difference"], row["p_value"]) == (result["difference"], result["p_value"])
        assert row["n_languages"] == result["n_languages"]
