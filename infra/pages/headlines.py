"""Headline numbers of the README and of the opening answers of the studies, with the commands that print them.

A number is declared once, as the words of the page around it and the command. `docs/results.md` is made of the
declarations; tests compare the words with the pages, and the numbers with what the commands print.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from infra.pages.page import without_links

ROOT = Path(__file__).parents[2]
README = "README.md"
STUDY = "docs/study.md"
STUDIES = "docs/studies/README.md"
QUERIES = "docs/results"
_NUMBER = re.compile(r"(?<![\w.,:/#-])[+-]?\d+(?:[.,]\d+)*(?![\w:-]|\.\d)")
_LEVEL = re.compile(r"\b9[05] %: ")
"""Level of an interval in parentheses, which is no result."""


@dataclass(frozen=True)
class Printed:
    """A command that prints numbers of frozen stores, from the root of a clone."""

    command: str
    stores: tuple[str, ...]
    cells: tuple[str, ...]
    """Where each number of the text is printed: first word of a line, and after a colon which number of the line."""


@dataclass(frozen=True)
class Measured:
    """A command that measures numbers of which no store is committed."""

    command: str
    details: str
    """Page below docs/ that says what was measured and how."""


@dataclass(frozen=True)
class Headline:
    """Words of a page with one or several numbers."""

    page: str
    text: str
    """As on the page; line breaks are blanks, and links their words."""
    source: Printed | Measured


def _answer(store: str, question: str, unit: str, *cells: str) -> Printed:
    """Return the command that prints the answer to a question of a recipe."""
    parameters = f"--param question={question} --param unit={unit}"
    command = f"mlprune query {QUERIES}/change.sql {parameters} --vertical --store {store}-store"
    return Printed(command, (store,), cells or ("estimate",))


def _role(role: str, cell: str) -> Printed:
    command = f"mlprune query {QUERIES}/roles.sql --param role={role} --vertical --store which-text-store"
    return Printed(command, ("which-text",), (cell,))


def _overlap(store: str, *cells: str) -> Printed:
    return Printed(f"python docs/studies/where/overlap.py {store}-store", (store,), cells)


WITH_INTERVAL = ("estimate", "low", "high")
VOCABULARY = Measured(
    "python docs/studies/vocabulary/curve.py MODEL COUNTED HELD_OUT --kept en,fr,sw --sizes 131072,73600 "
    "--out curve.csv",
    "studies/README.md#what-does-a-smaller-vocabulary-cost",
)
HEADLINES: tuple[Headline, ...] = (
    Headline(
        README,
        "translations keep 37 points (31 to 43) more of Swahili accuracy than random pruning",
        _answer("study", "translation-or-random", "points", *WITH_INTERVAL),
    ),
    Headline(README, "leave 26 % (21 to 30)", _answer("which-text", "own-swahili", "less", *WITH_INTERVAL)),
    Headline(
        README,
        "33 % (29 to 37) less perplexity in this language than English text",
        _answer("which-text", "own-hindi", "less", *WITH_INTERVAL),
    ),
    Headline(
        README,
        "0.34 of the dense bytes",
        Measured(
            "python tests/benchmarks/engines.py WORK TEXTS --converter FILE --model NAME=FOLDER",
            "export.md#exports-in-llamacpp",
        ),
    ),
    Headline(
        README,
        "20 % (18 to 21) less perplexity in Swahili than without",
        Measured("python tests/benchmarks/imatrix.py MODEL.gguf TEXTS", "export.md#importance-matrices-for-llamacpp"),
    ),
    Headline(
        README,
        "It runs 124 types of causal language models",
        Measured("python -m tests.type_outcomes", "reference/models.md"),
    ),
    Headline(
        README,
        "A model of XGLM-7.5B's shape was pruned in 2.75 GiB",
        Measured("python tests/benchmarks/memory_bound.py FOLDER", "models.md#models-larger-than-the-memory"),
    ),
    Headline(
        STUDY,
        "-0.003 (-0.030 to +0.024)",
        _answer("study", "translation-or-swahili", "difference", *WITH_INTERVAL),
    ),
    Headline(
        STUDY,
        "-0.014 (-0.046 to +0.018)",
        _answer("study", "translation-or-magnitude", "difference", *WITH_INTERVAL),
    ),
    Headline(
        STUDY,
        "+0.373 (+0.312 to +0.435)",
        _answer("study", "translation-or-random", "difference", *WITH_INTERVAL),
    ),
    Headline(
        STUDY,
        "-0.009 (-0.016 to -0.002)",
        _answer("study", "english-pays-little", "difference", "estimate", "low_90", "high_90"),
    ),
    Headline(STUDIES, "English text costs Swahili 35 %", _answer("which-text", "own-swahili", "baseline_more")),
    Headline(STUDIES, "Hindi 50 % more perplexity", _answer("which-text", "own-hindi", "baseline_more")),
    Headline(STUDIES, "leave English 6 % less perplexity", _answer("which-text", "english", "less")),
    Headline(STUDIES, "mean outside English): 2 % less", _answer("which-text", "other-languages", "less")),
    Headline(STUDIES, "3 % more in the language of the text", _role("text", "more")),
    Headline(STUDIES, "3 % less in a third language", _role("other", "less")),
    Headline(STUDIES, "14 % less with translations", _answer("which-text", "worst-language", "less")),
    Headline(STUDIES, "own text leaves 37 % less perplexity", _answer("which-mix", "my-languages", "less")),
    Headline(STUDIES, "24 % less in the worst language", _answer("which-mix", "my-worst-language", "less")),
    Headline(
        STUDIES,
        "against English text): 7 % (90 %: 2 to 13)",
        _answer("which-mix", "cost-in-english", "more", "estimate", "low_90", "high_90"),
    ),
    Headline(
        STUDIES,
        "For Irish no, it loses 17 % (90 %: 12 to 23; p of the opposite 0.032)",
        _answer("which-mix", "irish-in-the-mix", "more", "estimate", "low_90", "high_90", "p_opposite"),
    ),
    Headline(
        STUDIES, "saves Swahili 40 % of perplexity in the last nine blocks", _answer("where-gemma", "last", "less")
    ),
    Headline(STUDIES, "16 % in the first nine", _answer("where-gemma", "first", "less")),
    Headline(
        STUDIES,
        "21 % (95 %: 14 to 29)",
        _answer("where-gemma", "last-in-english", "more", *WITH_INTERVAL),
    ),
    Headline(STUDIES, "12 % (0 to 26)", _answer("where-gemma", "first-in-english", "more", *WITH_INTERVAL)),
    Headline(
        STUDIES,
        "the last half costs Swahili 47 % more perplexity",
        _answer("where-gemma", "swahili-needs-the-last", "baseline_more"),
    ),
    Headline(STUDIES, "English has 23 % more perplexity", _answer("where", "last-in-english", "more")),
    Headline(STUDIES, "`first` has p = 0.056", _answer("where", "first", "difference", "p_claim")),
    Headline(
        STUDIES,
        "move by at most 0.039 in log perplexity",
        Printed(
            "python docs/studies/where/declared.py where-store where-bfloat16-store",
            ("where", "where-bfloat16"),
            ("largest",),
        ),
    ),
    Headline(
        STUDIES,
        "+0.53 for Swahili and -0.37 for Hindi (mean +0.08, p = 0.28)",
        _overlap("where-gemma", "sw", "hi", "mean", "mean:1"),
    ),
    Headline(STUDIES, "on the embedded model -0.33 (p = 0.96)", _overlap("where", "mean", "mean:1")),
    Headline(
        STUDIES,
        "leaves 26 % less perplexity than Wanda's mask alone",
        _answer("comparison-languages", "reconstruction", "less"),
    ),
    Headline(STUDIES, "42 % less at 2:4", _answer("comparison-languages", "reconstruction-at-2-4", "less")),
    Headline(
        STUDIES,
        "26 % less outside English",
        _answer("comparison-languages", "outside-english-from-the-mix", "less"),
    ),
    Headline(
        STUDIES,
        "for 2 to 7 % more in English",
        _answer("comparison-languages", "english-from-the-mix", "more", "low", "high"),
    ),
    Headline(STUDIES, "English text leaves 26 % less in English", _answer("comparison", "reconstruction", "less")),
    Headline(STUDIES, "57 % less at 2:4", _answer("comparison", "reconstruction-at-2-4", "less")),
    Headline(
        STUDIES, "leave 0.76 (`french-from-french`)", _answer("comparison-languages", "french-from-french", "ratio")
    ),
    Headline(
        STUDIES, "0.44 (`swahili-from-swahili`)", _answer("comparison-languages", "swahili-from-swahili", "ratio")
    ),
    Headline(
        STUDIES,
        "leaves Swahili 41 % less perplexity (34 to 47) than English text",
        _answer("bits-gemma", "swahili-from-swahili", "less", *WITH_INTERVAL),
    ),
    Headline(
        STUDIES,
        "English pays 22 % (90 %: 10 to 34) for it",
        _answer("bits-gemma", "english-from-swahili", "more", "estimate", "low_90", "high_90"),
    ),
    Headline(
        STUDIES,
        "27 % better than rounding to nearest (23 to 31)",
        _answer("bits-gemma", "gptq", "less", *WITH_INTERVAL),
    ),
    Headline(
        STUDIES,
        "It costs English 6 % (90 %: 1 to 11)",
        _answer("bits-gemma", "english-from-the-mix", "more", "estimate", "low_90", "high_90"),
    ),
    Headline(
        STUDIES,
        "Swahili 13 % (90 %: 6 to 20) against Swahili text",
        _answer("bits-gemma", "swahili-from-the-mix", "more", "estimate", "low_90", "high_90"),
    ),
    Headline(
        STUDIES,
        "three bits leave 86 % more perplexity (63 to 114",
        _answer("bits-gemma", "round-or-remove", "more", *WITH_INTERVAL),
    ),
    Headline(STUDIES, "English pays 36 % for Swahili text", _answer("bits-smollm2", "english-from-swahili", "more")),
    Headline(STUDIES, "below 1 % with 31 % of the weights removed", VOCABULARY),
    Headline(
        STUDIES, "With 31 % of the weights removed, the estimates of the three languages are below 1 %", VOCABULARY
    ),
    Headline(STUDIES, "the interval of English ends at 1.0 %", VOCABULARY),
    Headline(
        STUDIES,
        "at 73,600 tokens is 5.016 dense and 5.010 trimmed, but under the same normaliser it is 1.0 % worse",
        VOCABULARY,
    ),
)
CONDITIONS: Mapping[str, tuple[str, ...]] = {
    README: (
        "a mean of 20 and 40 % sparsity",
        "In Gemma-3-270M at 40 %",
        "Python 3.11",
        "arXiv 2409.16911",
        "an error rate of 5 %",
    ),
    STUDIES: (
        "equivalent within 2 % in the mean",
        "equivalence within 2 % in my languages",
        "A limit of 5 %",
        "the two others below 2 %",
        "4 blocks, float32, 100 sentences",
        "raised from 0.3 to 0.5",
        "Equality of the masks within 5 %",
        "below 5 % is not shown",
    ),
}
"""Page -> words with numbers that were chosen, not measured."""
MADE_BY: Mapping[str, str] = {
    "study": "mlprune run infra/recipes/swahili.yaml --store study-store",
    **{
        name: f'make real ACCEPT_GEMMA_TERMS=yes ARGS="--recipe {name} --store {name}-store"'
        for name in ("which-text", "which-mix", "where-gemma")
    },
    **{
        name: f"mlprune run infra/recipes/real/{name}.yaml --store {name}-store"
        for name in ("bits-gemma", "bits-smollm2")
    },
    **{
        name: f"mlprune run infra/recipes/{name}.yaml --store {name}-store"
        for name in ("where", "where-bfloat16", "comparison-languages", "comparison")
    },
}
"""Frozen store -> the command that makes it again. The first lines of a recipe say which data it needs."""


def numbers(text: str) -> list[str]:
    """Return the numbers of a text, without levels of intervals and without numbers in names such as FLORES-200."""
    return _NUMBER.findall(_LEVEL.sub("", text))


def plain(text: str) -> str:
    """Return Markdown without code blocks, images and targets of links, on one line."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    return without_links(text)


def opening_answers() -> str:
    """Return the opening answers of the studies: their table, and of each study the list of its answers.

    The vocabulary study has a paragraph after its figure instead of a list.
    """
    head, *sections = (ROOT / STUDIES).read_text("utf-8").split("\n## ")
    named = [line for line in head.splitlines() if line.startswith("| [")]
    studies = [section for section in sections if any(f"[{section.partition(chr(10))[0]}]" in line for line in named)]
    return plain("\n\n".join([*named, *map(_answer_of, studies)]))


def _answer_of(section: str) -> str:
    paragraphs = section.split("\n\n")
    after_figure = [after for before, after in pairwise(paragraphs) if before.startswith("![")]
    lists = [paragraph for paragraph in paragraphs if paragraph.startswith("- **")]
    return (lists or after_figure)[0]


def printed_numbers(output: str, cells: tuple[str, ...]) -> Iterator[str]:
    """Yield the number in each cell of the output of a command; see `Printed`.

    Raises:
        ValueError: no line begins with the word, or it has too few numbers.
    """
    for cell in cells:
        word, _, place = cell.partition(":")
        lines = [line for line in output.splitlines() if line.split()[:1] == [word]]
        found = numbers(lines[0].partition(word)[2]) if lines else []
        if len(found) <= int(place or 0):
            raise ValueError(f"the output has no number {cell}: {output}")
        yield found[int(place or 0)]
