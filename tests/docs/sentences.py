"""Sentences of the studies with numbers, and where their frozen stores have these numbers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from catalog.results import Row
from catalog.store import Catalog

ANSWERS = """
FROM answers WHERE name <> ''
"""
VALUES = """
SELECT n.name, coalesce(split_part(v.demonstration_label, '-', 1), '') AS source, coalesce(v.seed, 0) AS seed,
    m.language, m.split, ln(m.value) AS value
FROM metrics AS m JOIN described_variants AS v USING (variant_id)
JOIN (SELECT DISTINCT name, id FROM names WHERE kind = 'variant') AS n ON n.id = m.variant_id
WHERE m.metric = 'perplexity'
"""


@dataclass
class Numbers:
    """What the sentences of a page are about: a frozen store."""

    catalog: Catalog

    @cached_property
    def answers(self) -> Mapping[str, Row]:
        """Name of a question with one test -> its answer."""
        return {str(row["name"]): row for row in self.catalog.query(ANSWERS)}

    def answer(self, name: str, column: str = "difference") -> float:
        """Return a number of an answer; a difference of log perplexity, or one of its ends."""
        return float(self.answers[name][column])

    @cached_property
    def values(self) -> list[Row]:
        return list(self.catalog.query(VALUES))

    def mean(self, name: str, **where: object) -> float:
        """Return the mean log perplexity of a named variant over seeds and what else is not given."""
        found = [
            row["value"]
            for row in self.values
            if row["name"] == name and all(row[key] == value for key, value in where.items())
        ]
        return sum(found) / len(found)

    def losses(self, kind: str) -> Mapping[str, list[float]]:
        """Language -> loss of each block, or of each kind of layer."""
        rows = self.catalog.query(
            "SELECT group_name AS language, loss FROM sensitivity WHERE unit_kind = $kind AND group_kind = 'language' "
            "ORDER BY block, layer",
            {"kind": kind},
        )
        return {
            language: [row["loss"] for row in rows if row["language"] == language] for language in ("en", "sw", "hi")
        }


def more(log_ratio: float) -> float:
    """Return by how many per cent a perplexity is higher."""
    return 100 * math.expm1(log_ratio)


def less(log_ratio: float) -> float:
    """Return by how many per cent a perplexity is lower."""
    return -more(log_ratio)


def own_and_third(store: Numbers, other: str) -> tuple[float, float]:
    """Return the mean differences of translations in the language of their source, and in third languages."""
    own, third = [], []
    for source in ("sw", "hi"):
        for language in ("es", "zh", "hi", "sw"):
            one, two = (store.mean(name, source=source, language=language) for name in ("translation", other))
            (own if language == source else third).append(one - two)
    return sum(own) / len(own), sum(third) / len(third)


def mine(store: Numbers, name: str, split: str) -> float:
    """Return the perplexity in the three languages of the study."""
    return math.exp(sum(store.mean(name, language=language, split=split) for language in ("am", "cy", "ga")) / 3)


def english(store: Numbers, name: str) -> float:
    return math.exp(store.mean(name, language="en", split="test"))


def ends(store: Numbers, name: str, columns: str, change: Callable[[float], float] = more) -> tuple[float, float]:
    """Return the ends of an interval, `ci` (95 %) or `ci90`."""
    low, high = (change(store.answer(name, f"{columns}_{end}")) for end in ("low", "high"))
    return low, high


def ratio(store: Numbers, name: str, column: str = "difference") -> float:
    return math.exp(store.answer(name, column))


Sentence = tuple[str, Callable[[Numbers], tuple[float, ...]]]
"""Text with a place for each number, and the numbers of the store."""
SENTENCES: Mapping[tuple[str, str], tuple[Sentence, ...]] = {
    ("../README.md", "study"): (
        (
            "translations keep {:.0f} points ({:.0f} to {:.0f}) more of Swahili accuracy",
            lambda s: (
                100 * s.answer("translation-or-random"),
                *ends(s, "translation-or-random", "ci", lambda value: 100 * value),
            ),
        ),
    ),
    ("../README.md", "which-text"): (
        (
            "leave {:.0f} % ({:.0f} to {:.0f}) or {:.0f} % ({:.0f} to {:.0f}) less",
            lambda s: tuple(
                number
                for name in ("own-swahili", "own-hindi")
                for number in (less(s.answer(name)), *reversed(ends(s, name, "ci", less)))
            ),
        ),
    ),
    ("studies/README.md", "which-text"): (
        (
            "English text costs Swahili {:.0f} % and Hindi {:.0f} % more perplexity",
            lambda s: (more(-s.answer("own-swahili")), more(-s.answer("own-hindi"))),
        ),
        ("are equivalent within {:.0f} % in the mean", lambda s: (more(s.answer("pairing", "margin")),)),
        ("leave English {:.0f} % less perplexity than text of one", lambda s: (less(s.answer("english")),)),
        ("mean outside English): {:.0f} % less", lambda s: (less(s.answer("other-languages")),)),
        (
            "mixes {:.0f} % more in the language of the text with {:.0f} % less in a third language",
            lambda s: (more(own_and_third(s, "monolingual")[0]), less(own_and_third(s, "monolingual")[1])),
        ),
        (
            "(`worst-language`): {:.0f} % less with translations than with English text",
            lambda s: (less(s.answer("worst-language")),),
        ),
    ),
    ("studies/README.md", "which-mix"): (
        (
            "own text leaves {:.0f} % less perplexity, {:.0f} % less in the worst language",
            lambda s: (less(s.answer("my-languages")), less(s.answer("my-worst-language"))),
        ),
        (
            "equivalence within {:.0f} % in my languages is not shown",
            lambda s: (more(s.answer("a-quarter-of-english", "margin")),),
        ),
        (
            "{:.0f} % (90 %: {:.0f} to {:.0f}). A limit of {:.0f} %",
            lambda s: (
                more(s.answer("cost-in-english")),
                *ends(s, "cost-in-english", "ci90"),
                more(s.answer("cost-in-english", "margin")),
            ),
        ),
        ("two others below {:.0f} %?", lambda s: (more(s.answer("irish-in-the-mix", "margin")),)),
        (
            "For Irish no, it loses {:.0f} % (90 %: {:.0f} to {:.0f}; p of the opposite {:.3f})",
            lambda s: (
                more(s.answer("irish-in-the-mix")),
                *ends(s, "irish-in-the-mix", "ci90"),
                s.answer("irish-in-the-mix", "p_opposite_corrected"),
            ),
        ),
        (
            "its perplexity is {:.0f} in the three languages, where `en00` has {:.0f}, and {:.0f} in English, where "
            "English text has {:.0f}. The dense model has {:.0f}",
            lambda s: (
                *(mine(s, name, "test") for name in ("en25", "en00")),
                *(english(s, name) for name in ("en25", "english")),
                mine(s, "dense", "test"),
            ),
        ),
    ),
    ("studies/README.md", "where-gemma"): (
        (
            "saves Swahili {:.0f} % of perplexity in the last nine blocks and {:.0f} % in the first nine",
            lambda s: (less(s.answer("last")), less(s.answer("first"))),
        ),
        (
            "{:.0f} % (95 %: {:.0f} to {:.0f}) and {:.0f} % ({:.0f} to {:.0f})",
            lambda s: (
                *(more(s.answer("last-in-english")), *ends(s, "last-in-english", "ci")),
                *(more(s.answer("first-in-english")), *ends(s, "first-in-english", "ci")),
            ),
        ),
        (
            "the last half costs Swahili {:.0f} % more perplexity",
            lambda s: (more(-s.answer("swahili-needs-the-last")),),
        ),
    ),
    ("studies/README.md", "where"): (
        ("English has {:.0f} % more perplexity", lambda s: (more(s.answer("last-in-english")),)),
        ("`first` has p = {:.3f}", lambda s: (s.answer("first", "p_corrected"),)),
    ),
    ("studies/README.md", "comparison"): (
        (
            "English text leaves {:.0f} % less in English ({:.0f} % less at 2:4)",
            lambda s: (less(s.answer("reconstruction")), less(s.answer("reconstruction-at-2-4"))),
        ),
    ),
    ("studies/README.md", "comparison-languages"): (
        (
            "leaves {:.0f} % less perplexity than Wanda's mask alone in the mean of four languages (`reconstruction`; "
            "{:.0f} % less at 2:4, `reconstruction-at-2-4`), and {:.0f} % less outside English than reconstruction on "
            "English text (`outside-english-from-the-mix`), for {:.0f} to {:.0f} % more in English",
            lambda s: (
                *(less(s.answer(name)) for name in ("reconstruction", "reconstruction-at-2-4")),
                less(s.answer("outside-english-from-the-mix")),
                *ends(s, "english-from-the-mix", "ci"),
            ),
        ),
        (
            "leave {:.2f} (`french-from-french`) and {:.2f} (`swahili-from-swahili`) of the perplexity that",
            lambda s: tuple(ratio(s, name) for name in ("french-from-french", "swahili-from-swahili")),
        ),
        (
            "Equality of the masks within {:.0f} % is not shown",
            lambda s: (more(s.answer("mask-of-swaps-matters-little", "margin")),),
        ),
    ),
}
"""(Page, frozen store) -> sentences with numbers of the store."""
