"""Stored choices, compared with plain loops over candidates and resamples."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlprune.numeric.statistics.bootstrap import cluster_resamples
from mlprune.planning import Plan, build_plan
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.choices.choice import ChoiceJob
from mlprune.store.store import Store
from tests.mlprune.steps.choices.stored_answers import item_ids, job_of, write_candidate
from tests.tiny_recipes import N_FACTS, copied_inputs, small_recipe, write_facts

LANGUAGES = ("en", "fr", "sw")
N = {"dev": 12, "test": 20}
VARIANTS = ("dense", "b", "a", "c")
"""In the order of preference; `c` was not evaluated in sw."""
CLUSTER = {"dev0": "FR", "dev1": "FR", "dev2": "DE", "test0": "FR", "test1": "ES", "test2": "ES"}
Rows = dict[str, list[dict[str, Any]]]


def right_answers(variant: str) -> dict[str, dict[str, list[float]]]:
    """Answers drawn for each variant; in English all are right, so that all tie."""
    generator = np.random.default_rng(VARIANTS.index(variant))
    languages = LANGUAGES[:2] if variant == "c" else LANGUAGES
    return {
        split: {
            one: [1.0] * n if one == "en" else (generator.random(n) < 0.6).astype(float).tolist() for one in languages
        }
        for split, n in N.items()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, ChoiceJob]:
    store = Store(tmp_path_factory.mktemp("choices"))
    job = job_of([write_candidate(store, name, right_answers(name), cluster=CLUSTER) for name in VARIANTS])
    assert all(store.has_record(*key) for key in job.needs)
    job.run(store, lambda: pytest.fail("no model is run"))
    return store, job


@pytest.fixture(scope="module")
def rows(made: tuple[Store, ChoiceJob]) -> Rows:
    store, job = made
    return {table: [dict(row) for row in found] for table, found in store.require(*job.identity.key).rows.items()}


def of_criterion(rows: Rows, kind: str, name: str = "") -> list[dict[str, Any]]:
    return [row for row in rows["choices"] if (row["group_kind"], row["group_name"]) == (kind, name)]


def values(split: str, kind: str, name: str, weights: np.ndarray) -> dict[str, float]:
    """Variant -> value of a criterion, with a weight for each item; only variants with all languages."""
    languages = {"language": (name,), "outside_english": LANGUAGES[1:], "worst": LANGUAGES}[kind]
    found = {}
    for variant in VARIANTS:
        right = right_answers(variant)[split]
        if set(languages) <= set(right):
            means = [float((np.array(right[one]) * weights).sum() / weights.sum()) for one in languages]
            found[variant] = min(means) if kind == "worst" else sum(means) / len(means)
    return found


def resampled_weights() -> np.ndarray:
    """[R, items of dev] how often each item is in each resample of the clusters of dev."""
    names = [CLUSTER.get(name, name) for name in item_ids("dev", N["dev"])]
    clusters = list(dict.fromkeys(names))
    counts = cluster_resamples(len(clusters), n_resamples=1999)
    return counts[:, [clusters.index(name) for name in names]].astype(float)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(
    ("kind", "name"), [("language", "fr"), ("language", "sw"), ("outside_english", ""), ("worst", "")]
)
def test_the_best_on_dev_is_chosen_and_wins_as_often_as_in_plain_loops(rows: Rows, kind: str, name: str) -> None:
    found = {row["variant_id"]: row for row in of_criterion(rows, kind, name)}
    expected = values("dev", kind, name, np.ones(N["dev"]))
    assert {variant: row["dev_value"] for variant, row in found.items()} == pytest.approx(expected)
    assert {row["n_candidates"] for row in found.values()} == {len(expected)}
    best = max(expected, key=lambda variant: round(expected[variant], 12))
    assert [variant for variant, row in found.items() if row["is_chosen"]] == [best]
    wins = dict.fromkeys(expected, 0)
    for weights in resampled_weights():
        drawn = values("dev", kind, name, weights)
        wins[max(drawn, key=lambda variant: round(drawn[variant], 12))] += 1
    assert {variant: row["win_share"] for variant, row in found.items()} == pytest.approx(
        {variant: n / 1999 for variant, n in wins.items()}
    )
    assert len([n for n in wins.values() if n]) > 1


def test_the_chosen_variant_has_the_difference_to_dense_on_test_and_the_optimism_of_dev(rows: Rows) -> None:
    chosen = [row for row in rows["choices"] if row["is_chosen"]]
    assert {row["variant_id"] for row in chosen} > {"dense"}
    for row in chosen:
        dev, test = (values(split, row["group_kind"], row["group_name"], np.ones(n)) for split, n in N.items())
        variant = row["variant_id"]
        assert row["test_value"] == pytest.approx(test[variant])
        assert row["difference"] == pytest.approx(test[variant] - test["dense"])
        gain = dev[variant] - dev["dense"]
        assert row["dev_difference"] == pytest.approx(gain)
        assert row["optimism"] == pytest.approx(gain - row["difference"])
        if variant == "dense":
            assert (row["p_value"], row["ci_low"], row["difference"]) == (None, None, 0)
        else:
            assert 0 < row["p_value"] <= 1
            assert row["ci_low"] < row["ci_high"]
            assert row["n_items"] == N["test"]
    assert all(row["difference"] is None for row in rows["choices"] if not row["is_chosen"])


def test_dense_wins_a_tie_of_all_candidates(rows: Rows) -> None:
    english = of_criterion(rows, "language", "en")
    assert [row["variant_id"] for row in english if row["is_chosen"]] == ["dense"]
    assert {row["n_tied"] for row in english} == {4}
    assert [row["win_share"] for row in english] == [1, 0, 0, 0]


def test_clusters_and_items_that_both_splits_share_are_counted(rows: Rows) -> None:
    (row, *_) = of_criterion(rows, "language", "fr")
    n_clusters = N["test"] - 1
    assert row["n_shared_items"] == 2
    assert row["shared_clusters"] == pytest.approx(3 / n_clusters)
    assert (row["dev_n_items"], row["dev_n_clusters"]) == (12, 11)


def test_the_front_is_chosen_on_dev_and_reported_on_test(rows: Rows) -> None:
    found = {row["variant_id"]: row for row in rows["pareto_chances"]}
    assert list(found) == ["dense", "b", "a"]
    for split, n in N.items():
        others = values(split, "outside_english", "", np.ones(n))
        assert {variant: row[f"{split}_others_value"] for variant, row in found.items()} == pytest.approx(others)
        assert {row[f"{split}_english_value"] for row in found.values()} == {1.0}
        best = max(others.values())
        assert {variant: row[f"on_front_{split}"] for variant, row in found.items()} == {
            variant: value == pytest.approx(best) for variant, value in others.items()
        }
        kept = {variant: row[f"keeps_both_{split}"] for variant, row in found.items()}
        assert kept == {variant: value >= others["dense"] - 1e-9 for variant, value in others.items()}
    hits = dict.fromkeys(found, 0)
    for weights in resampled_weights():
        drawn = values("dev", "outside_english", "", weights)
        for variant, value in drawn.items():
            hits[variant] += value >= max(drawn.values()) - 1e-9
    assert {variant: row["probability"] for variant, row in found.items()} == pytest.approx(
        {variant: n / 1999 for variant, n in hits.items()}
    )


def test_without_a_test_split_a_choice_has_no_test_values(tmp_path: Path) -> None:
    store = Store(tmp_path)
    right = {name: {"dev": right_answers(name)["dev"]} for name in ("dense", "a")}
    job = job_of([write_candidate(store, name, answers, cluster={}) for name, answers in right.items()])
    job.run(store, lambda: pytest.fail("no model is run"))
    record = store.require(*job.identity.key)
    for row in record.rows["choices"]:
        assert {row[name] for name in ("test_value", "difference", "p_value", "optimism", "shared_clusters")} == {None}
    assert {row["on_front_test"] for row in record.rows["pareto_chances"]} == {None}


FACTS = {"task": "facts", "path": "facts", "languages": ["en", "fr"]}


@pytest.fixture(scope="module")
def inputs(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied_inputs(tiny_inputs, tmp_path_factory.mktemp("choices"))
    write_facts(folder, "dev", range(N_FACTS, 2 * N_FACTS))
    return folder


def plan_of(folder: Path, *evaluations: dict[str, Any]) -> Plan:
    return build_plan(parse_recipe({**small_recipe(), "evaluations": list(evaluations)}, folder=folder))


def choices(plan: Plan) -> list[ChoiceJob]:
    return [job for job in plan.jobs if isinstance(job, ChoiceJob)]


def test_dense_and_all_pruned_variants_are_candidates_dense_first_then_by_sparsity(inputs: Path) -> None:
    plan = plan_of(inputs, FACTS, {**FACTS, "split": "dev"})
    (job,) = choices(plan)
    assert (job.metric, job.step, job.needs_chain) == ("accuracy", "compare", False)
    sparsities = [plan.variants[candidate.variant_id].spec.sparsity for candidate in job.candidates]
    assert sparsities == [0, 0.25, 0.5, 0.5]
    last = [candidate.variant_id for candidate in job.candidates[2:]]
    assert last == sorted(last)
    assert all(set(candidate.dev) == set(candidate.test) == {"en", "fr"} for candidate in job.candidates)
    made = [key for other in plan.jobs[: plan.jobs.index(job)] for key in other.makes]
    assert set(job.needs) <= set(made)


def test_without_a_dev_split_nothing_is_chosen_and_without_test_nothing_is_reported(inputs: Path) -> None:
    assert choices(plan_of(inputs, FACTS)) == []
    (job,) = choices(plan_of(inputs, {**FACTS, "split": "dev"}))
    assert all(candidate.dev and not candidate.test for candidate in job.candidates)


def test_the_largest_evaluation_of_a_task_counts(inputs: Path) -> None:
    small, large = ({**FACTS, "split": "dev", "limit": limit} for limit in (2, 4))
    (job,) = choices(plan_of(inputs, FACTS, small, large))
    assert {one.task.limit for candidate in job.candidates for one in candidate.dev.values()} == {4}


def test_a_variant_that_is_not_evaluated_on_dev_is_no_candidate_and_the_choice_has_another_id(inputs: Path) -> None:
    plan = plan_of(inputs, FACTS, {**FACTS, "split": "dev", "variants": ["sweep"]})
    (job,) = choices(plan)
    names = [{entry.name for entry in plan.variants[one.variant_id].entries} for one in job.candidates]
    assert names[1:] == [{"sweep"}]
    (of_all_variants,) = choices(plan_of(inputs, FACTS, {**FACTS, "split": "dev"}))
    assert of_all_variants.identity.id != job.identity.id
