"""Sentences of the studies: every number in them is one of their stores, or a condition of the study."""

import csv
import re
import runpy
from collections.abc import Callable, Mapping

import pytest

from catalog.store import Catalog
from infra.pages.frozen import thawed
from infra.pages.page import without_links
from tests.docs.pages import FENCE, ROOT
from tests.docs.sentences import SENTENCES, Numbers


def text_of(page: str) -> str:
    """Return the prose of a page on one line, without blocks, tables and targets of links."""
    text = FENCE.sub("", (ROOT / "docs" / page).read_text("utf-8"))
    text = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    return without_links(text)


STUDIES = "studies/README.md"
"""The page of the studies."""


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize(("page", "name"), SENTENCES)
def test_numbers_in_the_sentences_of_a_study_are_those_of_its_store(page: str, name: str) -> None:
    text = text_of(page)
    with thawed(name) as store, Catalog.in_memory(store) as catalog:
        numbers = Numbers(catalog)
        sentences = [sentence.format(*values(numbers)) for sentence, values in SENTENCES[page, name]]
    assert [sentence for sentence in sentences if sentence.replace("-0 ", "0 ") not in text] == []


def moved(
    name: str, other: str, differences: Callable[[Numbers], Mapping[str, float]]
) -> dict[str, tuple[float, float]]:
    """Return named differences in two frozen stores."""
    found = []
    for each in (name, other):
        with thawed(each) as store, Catalog.in_memory(store) as catalog:
            found.append(differences(Numbers(catalog)))
    return {key: (found[0][key], found[1][key]) for key in found[0]}


def text_differences(store: Numbers) -> dict[str, float]:
    """Return the differences of the questions of `which-text` over two seeds."""

    def mean(other: str, languages: tuple[str, ...], sources: tuple[str, ...] = ("sw", "hi")) -> float:
        return sum(
            store.mean("translation", source=source, seed=seed, language=language)
            - store.mean(other, seed=seed, language=language, **({} if other == "english" else {"source": source}))
            for source in sources
            for seed in (0, 1)
            for language in languages
        ) / (2 * len(sources) * len(languages))

    languages = ("en", "es", "hi", "sw", "zh")
    worst = [
        max(store.mean("translation", source=source, seed=seed, language=language) for language in languages)
        - max(store.mean("english", seed=seed, language=language) for language in languages)
        for source in ("sw", "hi")
        for seed in (0, 1)
    ]
    return {
        "own-hindi": mean("english", ("hi",), ("hi",)),
        "own-swahili": mean("english", ("sw",), ("sw",)),
        "pairing": mean("unpaired", languages),
        "other-languages": mean("monolingual", languages[1:]),
        "english": mean("monolingual", ("en",)),
        "worst-language": sum(worst) / len(worst),
    }


def half_differences(store: Numbers) -> dict[str, float]:
    """Return the differences of the questions of `where`."""
    questions = {
        "first": ("first-by-swahili", "first-by-english", "sw"),
        "first-in-english": ("first-by-swahili", "first-by-english", "en"),
        "last": ("last-by-swahili", "last-by-english", "sw"),
        "last-in-english": ("last-by-swahili", "last-by-english", "en"),
        "swahili-needs-the-last": ("first-by-english", "last-by-english", "sw"),
    }
    return {
        name: store.mean(one, language=language) - store.mean(other, language=language)
        for name, (one, other, language) in questions.items()
    }


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_answers_of_another_arithmetic_are_those_of_its_store() -> None:
    changes = moved("which-text", "which-text-float32", text_differences)
    first, second = changes.pop("own-hindi")
    largest = max(abs(after - before) for before, after in changes.values())
    text = text_of(STUDIES)
    assert (
        f"moves from {first:.3f} to {second:.3f} in log perplexity, the other five answers by less than 0.004" in text
    )
    assert largest < 0.004
    changes = moved("where", "where-bfloat16", half_differences)
    largest = max(abs(after - before) for before, after in changes.values())
    assert f"its declared differences move by at most {largest:.3f}" in text


@pytest.mark.thorough("runs the commands of a page")
def test_the_correlations_of_the_overlap_are_those_that_its_script_prints(capsys: pytest.CaptureFixture[str]) -> None:
    printed = {}
    for name in ("where-gemma", "where"):
        with thawed(name) as store:
            runpy.run_path(str(ROOT / "docs" / "studies" / "where" / "overlap.py"))["main"](str(store.local_root))
        printed[name] = {
            line.split()[0]: tuple(map(float, re.findall(r"-?\+?\d\.\d+", line)))
            for line in capsys.readouterr().out.splitlines()
        }
    gemma, here = printed.values()
    text = text_of(STUDIES)
    number = r"([-+]?\d\.\d+)"
    stated = re.search(
        rf"{number} for Swahili and {number} for Hindi \(mean {number}, p = {number}\), on the embedded model {number} "
        rf"\(p = {number}\)",
        text,
    )
    assert stated is not None
    expected = (*gemma["sw"], *gemma["hi"], *gemma["mean"], *here["mean"])
    assert [float(each) for each in stated.groups()] == pytest.approx(expected, abs=0.0055)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_costs_of_the_comparison_are_those_of_its_stores() -> None:
    sql = (ROOT / "docs" / "studies" / "methods" / "costs.sql").read_text("utf-8")
    with thawed("comparison-languages") as store, Catalog.in_memory(store) as catalog:
        costs = {row["name"]: row for row in catalog.query(sql.rstrip().rstrip(";"))}
    fitted = [row["cpu_s"] for name, row in costs.items() if "-on-" in name]
    memory = max(row["memory_gib"] for row in costs.values())
    text = text_of(STUDIES)
    assert (
        f"reconstructions take {min(fitted):.0f} to {round(max(fitted), -1):.0f} s of CPU time per variant, "
        f"swaps {costs['swaps']['cpu_s']:.0f}, "
        f"SparseGPT {costs['sparsegpt']['cpu_s']:.0f}, and at most {memory:.1f} GiB"
    ) in text


def test_the_sentences_about_smaller_vocabularies_have_the_values_of_the_file() -> None:
    with (ROOT / "docs" / "studies" / "vocabulary" / "curve.csv").open(encoding="utf-8", newline="") as file:
        rows = {(row["size"], row["language"]): row for row in csv.DictReader(file)}
    text = text_of(STUDIES)
    removed, high = (float(rows["131072", "en"][column]) for column in ("removed_weights", "cost_high"))
    assert f"With {100 * removed:.0f} % of the weights removed" in text
    assert f"the interval of English ends at {100 * high:.1f} %" in text
    kept = [rows["131072", language] for language in ("en", "fr", "sw")]
    assert {f"{float(row['removed_weights']):.2f}" for row in kept} == {f"{removed:.2f}"}
    assert all(float(row["cost"]) < 0.01 for row in kept)
    swahili = rows["73600", "sw"]
    dense, trimmed, cost = (float(swahili[name]) for name in ("perplexity_dense", "perplexity_trimmed", "cost"))
    assert f"is {dense:.3f} dense and {trimmed:.3f} trimmed" in text
    assert f"it is {100 * cost:.1f} % worse" in text


SECTIONS = ("Which text should choose the weights", "Which mix", "Where does", "Which method", "What does a smaller")
"""Beginnings of the headings of the studies with answers."""
GIVEN = (
    "40 % of the weights are removed. Four texts of 8,000 tokens choose them",
    "that of 40 sentences of",
    "moves from -0.403 to -0.414 in log perplexity, the other five answers by less than 0.004",
    "40 % of the weights are removed, and the text",
    "48 texts of 128 tokens",
    "(25.2.3; MPL 2.0)",
    "last half of the 18 blocks",
    "that of 24 sentences of",
    "(4 blocks, float32, 100 sentences",
    "move by at most 0.039",
    "is +0.53 for Swahili and -0.37 for Hindi (mean +0.08, p = 0.28), on the embedded model -0.33 (p = 0.96)",
    "raised from 0.3 to 0.5 before the run on Gemma",
    "at 50 % and 2:4",
    "on 40 texts of 96 tokens",
    "on 48 and 64 sentences",
    "reconstructions take 130 to 140 s of CPU time per variant, swaps 113, SparseGPT 26, and at most 2.5 GiB",
    "on 24 sentences, two of which",
    "168 of the 268 million",
    "above 100 %",
    "With 31 % of the weights removed, the estimates of the three languages are below 1 %",
    "ends at 1.0 %",
    "at 73,600 tokens is 5.016 dense and 5.010 trimmed",
    "it is 1.0 % worse",
    "Lines 811 to 922",
)
"""Texts with numbers that are conditions of a study, or that other tests cover."""
GENERAL = (r"9[05] % interval", r"\b2:4\b", r"below 0 is better", r"below 1 means")
"""Patterns of further texts with numbers that are not results."""
NUMBER = re.compile(r"(?<![\w.-])[-+]?\d[\d,]*(?:\.\d+)?(?![\w])")


def results() -> str:
    """Return the prose of the studies with answers."""
    text = (ROOT / "docs" / STUDIES).read_text("utf-8")
    sections = re.split(r"^## ", FENCE.sub("", text), flags=re.MULTILINE)[1:]
    kept = "\n".join(section for section in sections if section.startswith(SECTIONS))
    lines = (line for line in kept.splitlines() if not line.startswith("|"))
    return without_links(" ".join(lines))


def test_every_number_of_a_study_is_checked_or_a_condition_of_it() -> None:
    text = results()
    patterns = [
        r"[-+]?[\d.]+".join(map(re.escape, re.split(r"\{[^}]*\}", sentence)))
        for (page, _), sentences in SENTENCES.items()
        if page == STUDIES
        for sentence, _ in sentences
    ]
    patterns.sort(key=len, reverse=True)
    for pattern in (*patterns, *map(re.escape, GIVEN), r"`[^`]*`", *GENERAL):
        text = re.sub(pattern, " ~ ", text)
    assert [text[max(0, match.start() - 40) : match.end() + 30] for match in NUMBER.finditer(text)] == []
