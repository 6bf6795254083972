"""The study of a real model: comparisons, resampling, model and page."""

import csv
import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from infra.real.comparisons import compare_arms
from infra.real.crossed_bootstrap import paired_mean, resampled_indices
from infra.real.evaluations import Evaluation
from infra.real.model import find_part, import_gemma, join_parts
from infra.real.values import mean_values
from mlprune.errors import ModelError, ShapeError
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


def sample(n_sets=6, n_languages=3, n_items=40, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(5, 30, (n_sets, n_languages, n_items)).astype(float)
    return counts * (shift + 0.1 * rng.standard_normal(counts.shape)), counts


def test_mean_interval_and_p_value_are_those_of_plain_loops():
    differences, counts = sample(n_sets=4, n_items=7)
    result = paired_mean(differences, counts, n_resamples=30, seed=5)
    items = resampled_indices(7, n_resamples=30, seed=5)
    sets = resampled_indices(4, n_resamples=30, seed=6)
    means = []
    for drawn_items, drawn_sets in zip(items, sets, strict=True):
        cells = [
            sum(differences[s, l, i] for i in drawn_items) / sum(counts[s, l, i] for i in drawn_items)
            for s in drawn_sets
            for l in range(3)  # noqa: E741
        ]
        means.append(sum(cells) / len(cells))
    mean = np.mean([differences[s, l].sum() / counts[s, l].sum() for s in range(4) for l in range(3)])  # noqa: E741
    error = np.std(means)
    assert result.mean == pytest.approx(mean)
    assert result.p_value == pytest.approx(2 * stats.t.sf(abs(mean) / error, 3))
    assert (result.ci_low, result.ci_high) == pytest.approx((mean - 3.1824463 * error, mean + 3.1824463 * error))
    assert (result.n_sets, result.n_items, result.n_cells) == (4, 7, 12)


def test_a_difference_in_all_sets_and_items_is_significant_and_noise_rarely_is():
    p_values = [paired_mean(*sample(seed=seed), n_resamples=300).p_value for seed in range(60)]
    assert sum(p < 0.05 for p in p_values) <= 6
    shifted = paired_mean(*sample(shift=-0.05))
    assert shifted.p_value < 0.01
    assert shifted.ci_high < 0
    assert shifted.n_below == 18


def test_a_difference_between_sets_is_not_taken_for_a_difference_of_the_arms():
    differences, counts = sample()
    differences += counts * np.array([1, 1, -1, -1, 1, 1])[:, None, None]
    assert paired_mean(differences, counts).p_value > 0.2


def test_equal_arms_differ_by_nothing():
    result = paired_mean(np.zeros((2, 1, 3)), np.ones((2, 1, 3)))
    assert (result.mean, result.p_value) == (0, 1)


@pytest.mark.parametrize("shapes", [((1, 2, 3), (1, 2, 3)), ((2, 2, 3), (2, 3)), ((2, 3), (2, 3))])
def test_shapes_are_checked(shapes):
    with pytest.raises(ShapeError):
        paired_mean(np.zeros(shapes[0]), np.ones(shapes[1]))


@pytest.fixture
def parts(tmp_path):
    paths = [tmp_path / "part0", tmp_path / "part1"]
    paths[0].write_bytes(b"GGUF" * 400_000)  # more than one block
    paths[1].write_bytes(b"end")
    return paths


def test_parts_are_joined_in_order(parts, tmp_path):
    whole = b"".join(part.read_bytes() for part in parts)
    join_parts(parts, tmp_path / "out", sha256=hashlib.sha256(whole).hexdigest())
    assert (tmp_path / "out").read_bytes() == whole


def test_another_file_is_refused_and_removed(parts, tmp_path):
    whole = b"".join(part.read_bytes() for part in parts)
    with pytest.raises(ModelError) as error:
        join_parts(parts[::-1], tmp_path / "out", sha256=hashlib.sha256(whole).hexdigest())
    assert error.value.context["expected"] == hashlib.sha256(whole).hexdigest()
    assert not (tmp_path / "out").exists()


def test_the_part_of_a_package_is_found_without_running_its_code(tmp_path, monkeypatch):
    (tmp_path / "part_package" / "data").mkdir(parents=True)
    (tmp_path / "part_package" / "__init__.py").write_text("raise SystemExit('ran')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="no part of Gemma"):
        find_part("part_package")
    part = tmp_path / "part_package" / "data" / "gemma.gguf.part00"
    part.write_bytes(b"GGUF")
    assert find_part("part_package") == part
    assert "part_package" not in sys.modules


def test_a_missing_package_is_an_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("infra.real.model.PARTS", ("no_such_part",))
    with pytest.raises(ModelError) as error:
        import_gemma(tmp_path / "gemma")
    assert error.value.context["package"] == "no_such_part"
    assert list(tmp_path.iterdir()) == []


FOLDER = Path(__file__).parents[3] / "docs" / "studies" / "real"
CORPORA = {"CLDR": "subset", "FLORES": "flores"}


def read(name):
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_of_all_comparisons_of_perplexity_one_shows_a_difference_as_the_page_says():
    rows = [
        (corpus, row["opponent"], row["role"], float(row["mean"]) < 0, float(row["p_holm"]) < 0.05)
        for corpus, name in CORPORA.items()
        for row in read(f"{name}-comparisons")
        if row["metric"] == "log perplexity"
    ]
    assert [row[:4] for row in rows if row[4]] == [("FLORES", "monolingual", "English", True)]
    page = " ".join((FOLDER.parent / "README.md").read_text(encoding="utf-8").split())
    assert f"Of its {len(rows)} differences of perplexity one has p below 0.05 after Holm's correction" in page


def test_no_comparison_of_accuracy_shows_a_difference_as_the_page_says():
    rows = [row for row in read("subset-comparisons") if row["metric"] != "log perplexity"]
    assert len(rows) == 6
    assert all(float(row["p_holm"]) > 0.05 for row in rows)
