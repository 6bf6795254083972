"""The scripts of the studies compute what they say, on plain examples and on the frozen stores."""

import csv
import io
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from catalog.store import Catalog
from infra.pages.frozen import thawed
from mlprune.recipe.loading import load_recipe
from tests.docs.pages import ROOT

Script = dict[str, Any]

RECIPES = {
    "which-text": "real/which-text",
    "which-mix": "real/which-mix",
    "where": "where",
    "where-gemma": "real/where-gemma",
    "comparison": "comparison",
    "comparison-languages": "comparison-languages",
}
"""Frozen store -> recipe below infra/recipes."""
ARITHMETICS = [
    ("text/float32.csv", "which-text", "which-text-float32"),
    ("where/bfloat16.csv", "where", "where-bfloat16"),
    ("where/gemma-float32.csv", "where-gemma", "where-gemma-float32"),
    ("mix/float32.csv", "which-mix", "which-mix-float32"),
]
"""File of changes, and the frozen stores of a study and of its repetition in another arithmetic."""


def script(name: str) -> Script:
    """Run a script of the documentation up to its definitions."""
    return runpy.run_path(str(ROOT / "docs" / "studies" / name))


@pytest.mark.thorough("runs the commands of a page")
@pytest.mark.parametrize(("name", "recipe"), RECIPES.items())
def test_a_store_answers_the_questions_of_its_recipe_which_were_declared_in_time(name: str, recipe: str) -> None:
    declared = load_recipe(ROOT / "infra" / "recipes" / f"{recipe}.yaml")
    with thawed(name) as store, Catalog.in_memory(store) as catalog:
        asked = catalog.query(
            "SELECT q.name, q.is_primary FROM questions AS q JOIN answers USING (question_id) WHERE q.name <> ''"
        )
        late = catalog.query("FROM question_variants WHERE earlier_evaluation_id IS NOT NULL")
    assert declared.name == name
    assert {(row["name"], row["is_primary"]) for row in asked} == {
        (question.name, question.primary) for question in declared.questions
    }
    assert any(row["is_primary"] for row in asked)
    assert not late


@pytest.fixture
def overlap() -> Script:
    return script("where/overlap.py")


def test_ranks_give_spearmans_correlation_and_zeros_for_equal_values(overlap: Script) -> None:
    first, second = np.array([3.0, 1.0, 2.0, 2.0]), np.array([0.5, 0.1, 0.4, 0.1])
    assert overlap["ranks"](first) @ overlap["ranks"](second) == pytest.approx(spearmanr(first, second).statistic)
    assert not overlap["ranks"](np.ones(4)).any()


def test_orders_are_all_permutations_of_few_blocks_and_begin_with_the_identity(overlap: Script) -> None:
    assert len({tuple(order) for order in overlap["orders"](4)}) == 24
    for n in (4, 18):
        orders = overlap["orders"](n)
        assert list(orders[0]) == list(range(n))
        assert (np.sort(orders, axis=1) == np.arange(n)).all()


@pytest.mark.thorough("runs the commands of a page")
@pytest.mark.parametrize("name", ["where", "where-gemma"])
def test_the_test_of_the_overlap_is_a_correlation_over_the_blocks(
    name: str, overlap: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    with thawed(name) as store, Catalog.in_memory(store) as catalog:
        overlap["main"](str(store.local_root))
        losses = {(row["language"], row["block"]): row["loss"] for row in catalog.query(overlap["LOSSES"])}
        sets = catalog.query("FROM demonstration_sets WHERE kind = 'monolingual' AND samples = 24")
        overlaps = catalog.query("FROM feature_overlaps WHERE share = 0.5 AND profile = 'corrected'")
    language_of = {row["demonstration_set_id"]: row["source_language"] for row in sets}
    *printed, mean = capsys.readouterr().out.splitlines()
    correlations = []
    for language in sorted({language for language, _ in losses} - {"en"}):
        of_pair = [
            row for row in overlaps if {language_of.get(row[f"set_{side}"]) for side in "ab"} == {"en", language}
        ]
        distance = {
            block: np.mean([row["value"] for row in of_pair if row["depth"] == block])
            for block in {b for _, b in losses}
        }
        blocks = sorted(distance)
        excess = [losses[language, block] - losses["en", block] for block in blocks]
        correlations.append(spearmanr([distance[block] for block in blocks], excess).statistic)
    assert [float(line.split()[1]) for line in printed] == pytest.approx(correlations, abs=6e-4)
    assert float(mean.split()[1].rstrip(",")) == pytest.approx(np.mean(correlations), abs=6e-4)


def changes_of(arithmetic: Script, first: Any, second: Any) -> dict[str, list[float]]:
    found: dict[str, list[float]] = arithmetic["changes"](first, second)
    return found


def test_changes_between_arithmetics_are_those_of_values_and_of_pairs_of_the_same_part() -> None:
    arithmetic = script("text/arithmetic.py")
    first = {
        ("", "dense"): {"en": 1.0, "sw": 2.0},
        ("", "a"): {"en": 1.5, "sw": 2.5},
        ("", "b"): {"en": 1.25, "sw": 2.25},
        ("half", "a"): {"en": 1.0, "sw": 2.0},
        ("", "only here"): {"en": 9.0, "sw": 9.0},
    }
    second = {key: dict(of) for key, of in first.items() if key != ("", "only here")}
    second["", "a"]["sw"] += 0.5
    found = changes_of(arithmetic, first, second)
    assert sorted(found["log perplexity"]) == [0.0] * 7 + [0.5]
    assert sorted(map(abs, found["difference of two variants"])) == [0.0, 0.5]
    assert [abs(change) for change in found["difference, mean of the languages"]] == [0.25]


@pytest.mark.thorough("runs the commands of a page")
def test_a_store_does_not_differ_from_itself(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(compared("where", "where", capsys))))
    assert [row["largest_change"] for row in rows] == ["0.0000"] * 3
    assert all(int(row["n"]) for row in rows)


def compared(first: str, second: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what the script of the arithmetic prints about two frozen stores."""
    with thawed(first) as one, thawed(second) as other:
        script("text/arithmetic.py")["main"](str(one.local_root), str(other.local_root))
    return capsys.readouterr().out


@pytest.mark.thorough("runs the commands of a page")
def test_the_limits_of_published_files_are_ratios_of_costs_in_the_catalog(capsys: pytest.CaptureFixture[str]) -> None:
    with thawed("bits") as store, Catalog.in_memory(store) as catalog:
        script("bits/limits.py")["main"](str(store.local_root))
        costs = {
            (row["recipe"], row["name"]): row["cost"]
            for row in catalog.query(
                "SELECT n.recipe, n.name, avg(ln(m.value / m.dense_value)) AS cost FROM names AS n "
                "JOIN measured AS m ON m.variant_id = n.id WHERE n.kind = 'variant' GROUP BY ALL"
            )
        }
    printed = capsys.readouterr().out
    assert printed == (ROOT / "docs" / "studies" / "bits" / "limits.csv").read_text("utf-8")
    rows = {(row["source"], row["number"]): row for row in csv.DictReader(io.StringIO(printed))}
    for (source, number), row in rows.items():
        assert float(row["ci_low"]) <= float(row["value"]) <= float(row["ci_high"])
        if number.startswith("cost of "):
            assert float(row["value"]) == pytest.approx(costs[source, number.removeprefix("cost of ")], abs=6e-4)
        if number.startswith("ratio "):
            name = number.removeprefix("ratio of the cost of ")
            assert float(row["value"]) == pytest.approx(costs[source, name] / costs["bits", name], abs=6e-4)


def test_the_page_has_the_values_of_the_tables_of_bits_and_distance() -> None:
    page = " ".join((ROOT / "docs" / "studies" / "README.md").read_text("utf-8").split())
    rows = {
        (file, *list(row.values())[:2]): [float(value or "nan") for value in list(row.values())[2:]]
        for file in ("bits/limits", "distance/embedded")
        for row in csv.DictReader((ROOT / "docs" / "studies" / f"{file}.csv").open(encoding="utf-8"))
    }
    ratio = "ratio of the cost of "
    for source, name, words in (
        ("q4", "nearest", "{:.2f} times as large from Q4_1 (95 %: {:.2f} to {:.2f})"),
        ("q5", "nearest", "{:.2f} times from Q5_0 ({:.2f} to {:.2f})"),
        ("q4", "mix", "{:.2f} times from Q4_1 ({:.2f} to {:.2f})"),
        ("q5", "mix", "{:.2f} times from Q5_0 ({:.2f} to {:.2f})"),
        ("q4", "mix-3-bits", "{:.2f} times from Q4_1 ({:.2f} to {:.2f})"),
        ("q5", "mix-3-bits", "{:.2f} times from Q5_0 ({:.2f} to {:.2f})"),
    ):
        assert words.format(*rows["bits/limits", f"bits-{source}", ratio + name]) in page
    saved = [rows["bits/limits", source, "saved by gptq at 4 bits"] for source in ("bits", "bits-q4")]
    (whole, low, high), of_file = ([round(100 * value) for value in values] for values in saved)
    assert f"{whole} % of the cost of nearest at 4 bits ({low} to {high})" in page
    assert "but {} % from Q4_1 ({} to {})".format(*of_file) in page
    of_mean = {number: values for (file, number, language), values in rows.items() if language == "mean"}
    assert "{:.2f} (perplexity {:.2f})".format(of_mean["rank divergence"][0], of_mean["rank perplexity"][0]) in page
    skills = [round(100 * of_mean[f"skill {name}"][0]) for name in ("divergence", "perplexity", "sparsity")]
    assert (
        "{} % smaller than that of the mean loss of the others (perplexity {} %, sparsity {} %)".format(*skills) in page
    )
    gain = [round(100 * value) for value in of_mean["skill divergence - perplexity"]]
    assert "{} points (95 %: {} to {})".format(*gain) in page
    shares = {number: round(100 * values[0]) for (_, number, language), values in rows.items() if language == "all"}
    assert f"{shares['earlier divergence 0.3']} % of the pairs of variants differ significantly in divergence" in page
    assert f"{shares['earlier accuracy 0.3']} % in accuracy" in page
    assert f"in perplexity {shares['earlier perplexity 0.2']} % at 20 %" in page


def test_the_skill_of_a_predictor_is_1_for_what_it_orders_exactly_and_falls_without_order() -> None:
    skill = script("distance/predicts.py")["skill"]
    entries, predictor = np.repeat(["a", "b", "c"], 20), np.tile(np.arange(20.0), 3)
    assert skill(predictor, predictor**2, entries) == pytest.approx(1)
    assert skill(np.zeros(60), predictor, entries) == pytest.approx(0)
    shuffled = np.random.default_rng(0).permuted(predictor)
    assert skill(shuffled, predictor, entries) < 0.3


def test_statistics_of_a_language_are_those_of_the_items_that_are_drawn() -> None:
    measured_script = script("distance/predicts.py")
    texts = np.array([[[0, 0], [-8, -4], [4, 2]], [[1, 4], [-9, -5], [4, 2]], [[4, 1], [-12, -4], [4, 2]]], dtype=float)
    measured = measured_script["Measured"](
        ["dense", "a", "b"],
        np.array([0, 0.1, 0.2]),
        texts,
        np.array([[2, 3], [1, 3], [0, 3]], dtype=float),
        np.array([2.0, 3.0]),
    )
    found = measured_script["statistics"](measured, np.array([2.0, 0]), np.array([1.0, 1]))
    assert found["rank divergence"] == found["rank perplexity"] == found["rank sparsity"] == pytest.approx(1)
    other = measured_script["statistics"](measured, np.array([0, 2.0]), np.array([1.0, 1]))
    assert other["rank divergence"] == pytest.approx(-1)


@pytest.mark.thorough("runs the commands of a page")
@pytest.mark.parametrize(("file", "first", "second"), ARITHMETICS)
def test_the_changes_in_a_file_are_those_of_its_two_stores(
    file: str, first: str, second: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(first, second, capsys) == (ROOT / "docs" / "studies" / file).read_text("utf-8")


def mo_file(path: Path, messages: dict[str, str]) -> None:
    """Write a file of messages in gettext's binary format."""
    pairs = [(key.encode(), value.encode()) for key, value in sorted({"": "charset=UTF-8", **messages}.items())]
    keys, values, data, start = [], [], b"", 28 + 16 * len(pairs)
    for table, index in ((keys, 0), (values, 1)):
        for pair in pairs:
            table += [len(pair[index]), start + len(data)]
            data += pair[index] + b"\0"
    header = [0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, start]
    path.parent.mkdir(parents=True)
    path.write_bytes(np.array(header + keys + values, dtype="<u4").tobytes() + data)


def test_sentences_are_those_that_all_languages_have(tmp_path: Path) -> None:
    sentences: Callable[..., None] = script("mix/sentences.py")["main"]
    common = "Do you want to save this document before you close it?"
    for language in ("am", "cy", "ga"):
        messages = {f"KEY\x04{common}": f"{language} one\nline", "Save": "x", f"{common[:-1]} now?": ""}
        messages |= {"This sentence of eight words has <b>mark-up</b> inside it.": "x"}
        messages |= {"This one of eight words is only in Welsh texts.": "x"} if language == "cy" else {}
        mo_file(tmp_path / "in" / language / "LC_MESSAGES" / "a.mo", messages)
    sentences(str(tmp_path / "in"), str(tmp_path / "out"))
    assert (tmp_path / "out" / "en.txt").read_text() == f"{common}\n"
    assert (tmp_path / "out" / "cy.txt").read_text() == "cy one line\n"
