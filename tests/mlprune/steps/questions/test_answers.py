"""Rows that answer a question: families, margins, means over variants and seeds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlprune.numeric.statistics.variance_components import crossed_estimate
from mlprune.planning import Plan, pending_jobs
from mlprune.steps.evaluate.results import predictions_of
from mlprune.steps.questions.answers import AnswerJob, Compared, answer_jobs, answer_rows
from mlprune.steps.questions.evidence import Criterion, Evidence
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests import defined_statistics as defined
from tests.mlprune.steps.questions.comparison_records import changed, cluster_evidence
from tests.tiny_recipes import FinishedRun

GAIN = Criterion("accuracy", "language", "en")
MEAN = Criterion("accuracy", "outside_english", over="mean")


def compared(parts: Sequence[Evidence], seeds: Sequence[int | None] = ()) -> list[Compared]:
    seeds = seeds or [None] * len(parts)
    return [
        Compared(f"c{i}", f"v{i}", "dense", n_languages=1, seed=seed, chance=0.25, dtype="float32", evidence=part)
        for i, (part, seed) in enumerate(zip(parts, seeds, strict=True))
    ]


def unpaired(
    shifts: Sequence[Sequence[float]], *, has_clusters: bool = True
) -> tuple[list[Compared], list[list[list[float]]]]:
    """Every seed of a variant, shifted by the first ones, compared with every seed of a baseline; and the values."""
    generator = np.random.default_rng(9)
    sides = [np.add.outer(side, generator.normal(0, 0.05, 40)) for side in shifts]
    sides = [side + generator.normal(0, 0.05, side.shape) for side in sides]
    values = [[(own - other).tolist() for other in sides[1]] for own in sides[0]]
    parts = []
    for seed, row in enumerate(values):
        for baseline_seed, contributions in enumerate(row):
            evidence = cluster_evidence(contributions)
            if not has_clusters:
                evidence = replace(evidence, clusters=(), contributions=np.zeros(0), sizes=np.zeros(0))
            (part,) = compared([evidence], [seed])
            parts.append(replace(part, baseline_seed=baseline_seed))
    return parts, values


def rows_of(criterion: Criterion, parts: Sequence[Evidence], seeds: Sequence[int | None] = ()) -> list[dict[str, Any]]:
    return [dict(row) for row in answer_rows("q", criterion, compared(parts, seeds))]


def test_each_variant_has_a_row_with_its_own_test() -> None:
    parts = [cluster_evidence(changed(12, 1)), cluster_evidence(changed(6, 0)), cluster_evidence(changed(3, 3))]
    rows = rows_of(GAIN, parts)
    assert [row["variant_id"] for row in rows] == ["v0", "v1", "v2"]
    assert [row["p_value"] for row in rows] == [part.row["p_value"] for part in parts]
    assert {row[name] for row in rows for name in ("p_margin", "p_opposite")} == {None}


def test_non_inferiority_has_the_test_of_its_margin() -> None:
    criterion = Criterion("accuracy", "language", "en", claim="noninferior", margin=0.02)
    (row,) = rows_of(criterion, [cluster_evidence(changed(0, 0, n=150), test="tango")])
    assert row["p_margin"] == pytest.approx(0.98**150)
    assert row["p_opposite"] == pytest.approx(1)
    assert row["ci90_low"] > -0.02
    assert row["margin"] == 0.02


def test_the_mean_pools_clusters_over_variants() -> None:
    generator = np.random.default_rng(3)
    shared = generator.normal(0.02, 0.1, 40)
    parts = [cluster_evidence(list(shared + generator.normal(0, 0.05, 40))) for _ in range(5)]
    (row,) = rows_of(MEAN, parts)
    assert (row["comparison_id"], row["variant_id"], row["baseline_id"]) == ("", None, "dense")
    assert (row["n_variants"], row["n_seeds"]) == (5, 0)
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


def test_a_baseline_with_seeds_of_its_own_has_its_draws_in_the_error() -> None:
    parts, values = unpaired([(0.1, 0.2, 0.3), (-0.1, 0.0, 0.1, 0.2)])
    (row,) = answer_rows("q", MEAN, parts)
    (of_one_side,) = answer_rows("q", MEAN, [replace(part, baseline_seed=None) for part in parts])
    assert (row["n_seeds"], row["n_baseline_seeds"], of_one_side["n_baseline_seeds"]) == (3, 4, 0)
    mean, half = defined.unpaired_interval(values, 0.025)
    assert (row["difference"], row["ci_high"]) == pytest.approx((mean, mean + half))
    assert row["p_value"] > of_one_side["p_value"]  # type: ignore[operator]
    errors = [row[f"error_of_{name}"] for name in ("seeds", "baseline_seeds", "items")]
    assert row["standard_error"] ** 2 == pytest.approx(sum(error**2 for error in errors))  # type: ignore[operator, misc]
    assert row["error_of_baseline_seeds"] == pytest.approx(np.std([-0.1, 0.0, 0.1, 0.2], ddof=1) / 2, rel=0.2)


def test_paired_seeds_are_a_sample_of_pairs() -> None:
    parts, _ = unpaired([(0.1, 0.2, 0.3), (-0.1, 0.0, 0.1)])
    pairs = [part for part in parts if part.seed == part.baseline_seed]
    (row,) = answer_rows("q", MEAN, pairs)
    (without,) = answer_rows("q", MEAN, [replace(part, baseline_seed=None) for part in pairs])
    assert row == without
    assert (row["n_seeds"], row["n_baseline_seeds"], row["conditional_on_one_draw"]) == (3, 0, False)


def test_seeds_of_the_baseline_alone_widen_the_interval() -> None:
    parts, values = unpaired([(0.1,), (-0.1, 0.0, 0.1)])
    (row,) = answer_rows("q", MEAN, [replace(part, seed=None) for part in parts])
    table = np.array(values[0])
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(vars(crossed_estimate(table).interval()).values()))
    assert (row["n_seeds"], row["n_baseline_seeds"], row["error_of_seeds"]) == (0, 3, 0.0)
    assert row["conditional_on_one_draw"] is False
    (single,) = answer_rows("q", MEAN, parts)
    assert (single["n_seeds"], single["conditional_on_one_draw"]) == (1, True)
    (drawn_once,) = answer_rows("q", MEAN, [replace(part, seed=None) for part in parts if not part.baseline_seed])
    assert (drawn_once["n_baseline_seeds"], drawn_once["conditional_on_one_draw"]) == (1, True)


def test_seeds_of_both_sides_count_without_contributions() -> None:
    parts, values = unpaired([(0.1, 0.2, 0.3), (-0.1, 0.0, 0.1, 0.2)], has_clusters=False)
    (row,) = answer_rows("q", MEAN, parts)
    differences = np.array(values).mean(axis=2)
    means = [differences.mean(axis=axis) for axis in (1, 0)]
    expected = [float(each.std(ddof=1)) / len(each) ** 0.5 for each in means]
    assert [row["error_of_seeds"], row["error_of_baseline_seeds"]] == pytest.approx(expected)
    assert row["error_of_items"] == pytest.approx(np.mean([part.evidence.standard_error for part in parts]))


def test_seeds_without_any_change_have_the_interval_of_what_was_not_seen() -> None:
    parts = [cluster_evidence(changed(0, 0)) for _ in range(2)]
    (row,) = rows_of(MEAN, parts, range(2))
    assert (row["interval"], row["p_value"]) == ("sign_flip", 1.0)
    assert row["ci_low"] < row["ci90_low"] < 0 < row["ci90_high"] < row["ci_high"]


def test_no_difference_between_sets_is_equivalence_within_a_margin() -> None:
    criterion = Criterion("accuracy", "outside_english", claim="equivalent", margin=0.03, over="mean")
    generator = np.random.default_rng(6)
    parts = [cluster_evidence(list(generator.normal(-0.003, 0.05, 120))) for _ in range(6)]
    (row,) = rows_of(criterion, parts)
    assert row["p_margin"] < 0.05
    assert -0.03 < row["ci90_low"] < row["ci90_high"] < 0.03
    assert row["p_value"] > 0.05


def test_a_single_cluster_has_an_answer_without_an_error() -> None:
    part = cluster_evidence(changed(1, 1))
    single = Evidence({**part.row, "standard_error": None, "n_clusters": 1}, ("c",), np.zeros(1), np.ones(1))
    for criterion in (GAIN, MEAN):
        (row,) = rows_of(criterion, [single])
        assert (row["p_value"], row["standard_error"]) == (1, None)


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
            assert 0 < row["p_value"] <= 1  # type: ignore[operator]


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


def test_a_question_about_a_metric_that_comparisons_do_not_test_has_a_test_of_its_own(
    tiny_run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = tiny_run.plan, tiny_run.store
    (question,) = [one for one in plan.questions if one.family.task == "facts" and one.criterion.group_name == "en"]
    asked = replace(question, criterion=replace(question.criterion, metric="ece"), comparisons=question.comparisons[:1])
    (job,) = answer_jobs([replace(asked, seeds=asked.seeds[:1], baseline_seeds=asked.baseline_seeds[:1])])
    comparison = asked.comparisons[0]
    (pair,) = [pair for pair in comparison.pairs if pair[0].task.language == "en"]
    assert set(job.needs) == {comparison.identity.key, *(evaluation.identity.key for evaluation in pair)}
    written: list[Record] = []
    monkeypatch.setattr(store, "write_record", written.append)
    job.run(store, None)  # type: ignore[arg-type]
    (answer,) = written[0].rows["answers"]
    (compared,) = [
        row
        for row in store.require("comparisons", comparison.identity.id).rows["comparison_results"]
        if (row["metric"], row["language"]) == ("ece", "en")
    ]
    assert (compared["p_value"], answer["test"]) == (None, "randomization")
    assert answer["difference"] == compared["difference"]
    assert 0 < answer["p_value"] <= 1


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
