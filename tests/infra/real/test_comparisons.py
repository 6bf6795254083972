import numpy as np
import pytest

from infra.real.comparisons import compare_arms
from infra.real.evaluations import Evaluation
from infra.real.values import mean_values
from mlprune.numeric.statistics.multiplicity import holm

LEVELS = {"translation": 3.0, "unpaired": 3.1, "monolingual": 2.5, "english": 4.0}
"""Arm -> log-perplexity in every language."""


def evaluation(arm, source, seed, language, *, task="perplexity"):
    noise = np.random.default_rng([seed or 0, *map(ord, f"{arm}{source}{language}")]).standard_normal(20)
    counts = np.full(20, 10.0) if task == "perplexity" else np.ones(20)
    sums = counts * (LEVELS[arm] + 0.01 * noise)
    return Evaluation(arm, source, seed, "dense", task, language, tuple(map(str, range(20))), sums, counts)


def evaluations(*, arms=("translation", "unpaired", "monolingual"), seeds=(0, 1), task="perplexity"):
    return [
        evaluation(arm, source, seed, language, task=task)
        for arm in arms
        for source in ("sw", "hi")
        for seed in seeds
        for language in ("en", "fr", "hi", "sw")
    ]


def test_each_opponent_and_role_is_compared_with_the_translation_of_equal_source_and_seed():
    compared = {(each.opponent, each.role): each.difference for each in compare_arms(evaluations())}
    assert set(compared) == {(o, r) for o in ("unpaired", "monolingual") for r in ("source", "English", "others")}
    assert compared["unpaired", "source"].mean == pytest.approx(-0.1, abs=0.01)
    assert compared["monolingual", "others"].mean == pytest.approx(0.5, abs=0.01)
    assert compared["unpaired", "source"].n_below == compared["unpaired", "source"].n_cells == 4
    assert compared["unpaired", "others"].n_cells == 8  # fr, and sw or hi
    assert compared["unpaired", "others"].n_sets == 4


def test_english_text_of_equal_seed_is_an_opponent_of_every_source():
    english = [evaluation("english", "en", seed, language) for seed in (0, 1) for language in ("en", "fr", "hi", "sw")]
    compared = {(each.opponent, each.role): each.difference for each in compare_arms([*evaluations(), *english])}
    assert compared["english", "source"].mean == pytest.approx(-1, abs=0.01)


def test_a_set_without_its_opponent_is_left_out():
    rows = [
        each for each in evaluations(seeds=(0, 1, 2)) if (each.arm, each.seed, each.language) != ("unpaired", 2, "sw")
    ]
    compared = {(each.opponent, each.role): each.difference.n_sets for each in compare_arms(rows)}
    assert compared["unpaired", "English"] == compared["monolingual", "source"] == 6
    assert compared["unpaired", "source"] == 5
    assert compare_arms([each for each in rows if (each.seed, each.source) == (0, "sw")]) == []


def test_holm_covers_both_metrics():
    compared = compare_arms([*evaluations(), *evaluations(task="facts")])
    assert {each.metric for each in compared} == {"log perplexity", "accuracy"}
    assert [each.p_holm for each in compared] == holm([each.difference.p_value for each in compared])


def test_values_are_geometric_means_of_perplexity_and_means_of_accuracy():
    values = {(each.task, each.arm, each.language): each for each in mean_values(evaluations())}
    assert values["perplexity", "translation", "en"].value == pytest.approx(np.exp(3), rel=0.01)
    assert values["perplexity", "translation", "en"].n_variants == 4
    facts = {(each.arm, each.language): each for each in mean_values(evaluations(task="facts"))}
    assert facts["monolingual", "sw"].value == pytest.approx(2.5, rel=0.01)
    assert facts["monolingual", "sw"].lowest <= facts["monolingual", "sw"].value <= facts["monolingual", "sw"].highest
