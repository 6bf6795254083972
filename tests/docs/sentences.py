"""Sentences of the studies with numbers, and where their frozen stores have these numbers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from scipy.stats import spearmanr

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


def pairing_in_hindi(store: Numbers) -> float:
    one, two = (store.mean(name, source="hi", language="hi") for name in ("translation", "unpaired"))
    return one - two


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


def ratio_to_dense(store: Numbers, name: str, language: str) -> float:
    return math.exp(store.mean(name, language=language) - store.mean("dense", language=language))


def named(store: Numbers) -> list[Row]:
    return list(store.catalog.query("FROM internal.described_questions WHERE name <> ''"))


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
    ("study-text.md", "which-text"): (
        (
            "English text costs Swahili {:.0f} % and Hindi {:.0f} % more perplexity",
            lambda s: (more(-s.answer("own-swahili")), more(-s.answer("own-hindi"))),
        ),
        ("are equivalent within {:.0f} % in the mean", lambda s: (more(s.answer("pairing", "margin")),)),
        ("have {:.1f} % more perplexity than without pairing", lambda s: (more(pairing_in_hindi(s)),)),
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
    ("study-mix.md", "which-mix"): (
        (
            "own text leaves {:.0f} % less perplexity, {:.0f} % less in the worst language",
            lambda s: (less(s.answer("my-languages")), less(s.answer("my-worst-language"))),
        ),
        (
            "equivalence within {:.0f} % in my languages is not shown",
            lambda s: (more(s.answer("a-quarter-of-english", "margin")),),
        ),
        (
            "the change is {:.1f} % (90 %: {:.1f} to {:+.1f})",
            lambda s: (more(s.answer("a-quarter-of-english")), *ends(s, "a-quarter-of-english", "ci90")),
        ),
        (
            "{:.0f} % (90 %: {:.0f} to {:.0f}). A limit of {:.0f} %",
            lambda s: (
                more(s.answer("cost-in-english")),
                *ends(s, "cost-in-english", "ci90"),
                more(s.answer("cost-in-english", "margin")),
            ),
        ),
        ("others below {:.0f} %?", lambda s: (more(s.answer("irish-in-the-mix", "margin")),)),
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
            "English text has {:.0f}. That it is as good as `en00` within {:.0f} %",
            lambda s: (
                *(mine(s, name, "test") for name in ("en25", "en00")),
                *(english(s, name) for name in ("en25", "english")),
                more(s.answer("a-quarter-of-english", "margin")),
            ),
        ),
        ("dense perplexity is {:.0f} on test", lambda s: (mine(s, "dense", "test"),)),
    ),
    ("study-where.md", "where-gemma"): (
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
        (
            "rank correlation {:.2f}), Hindi differently ({:.2f} with English, {:.2f} with Swahili)",
            lambda s: tuple(
                spearmanr(s.losses("block")[one], s.losses("block")[other]).statistic
                for one, other in (("en", "sw"), ("hi", "en"), ("hi", "sw"))
            ),
        ),
    ),
    ("study-where.md", "where"): (
        ("English has {:.0f} % more perplexity", lambda s: (more(s.answer("last-in-english")),)),
        ("`first` has p = {:.3f}", lambda s: (s.answer("first", "p_corrected"),)),
    ),
    ("comparison.md", "comparison"): (
        (
            "English text leaves {:.0f} % less in English ({:.0f} % less at 2:4)",
            lambda s: (less(s.answer("reconstruction")), less(s.answer("reconstruction-at-2-4"))),
        ),
        (
            "leaves {:.2f} of Wanda's perplexity in English at 50 % of each row (`reconstruction`), {:.2f} at 2:4 "
            "(`reconstruction-at-2-4`), and {:.2f} of SparseGPT's",
            lambda s: tuple(
                ratio(s, name) for name in ("reconstruction", "reconstruction-at-2-4", "reconstruction-of-sparsegpt")
            ),
        ),
        (
            "(`reconstruction-of-swaps`, {:.2f}) a gain is not shown. Nor",
            lambda s: (ratio(s, "reconstruction-of-swaps"),),
        ),
        (
            "are at {:.2f}, {:.2f} and {:.2f} times the dense perplexity. Equality within {:.0f} % is not shown; the "
            "90 % intervals reach from {:.2f} to {:.2f}",
            lambda s: (
                *(ratio_to_dense(s, f"{name}-on-english", "en") for name in ("wanda", "swaps", "sparsegpt")),
                more(s.answer("mask-of-swaps-matters-little", "margin")),
                min(ratio(s, f"mask-of-{name}-matters-little", "ci90_low") for name in ("swaps", "sparsegpt")),
                max(ratio(s, f"mask-of-{name}-matters-little", "ci90_high") for name in ("swaps", "sparsegpt")),
            ),
        ),
        ("leave {:.2f} of the French perplexity", lambda s: (ratio(s, "french-from-french"),)),
        (
            "(`swahili-from-swahili`, {:.2f}) a gain is not shown, in a model that hardly knows it (dense perplexity "
            "{:.0f})",
            lambda s: (ratio(s, "swahili-from-swahili"), math.exp(s.mean("dense", language="sw"))),
        ),
        (
            "a loss of {:.0f} % with Swahili-English (`english-from-swahili`) and {:.0f} % with the mix",
            lambda s: (ends(s, "english-from-swahili", "ci90")[1], ends(s, "english-from-the-mix", "ci90")[1]),
        ),
        (
            "does not pay: {:.2f} of Wanda alone with English text (`chinese-from-english`), {:.2f} with the mix "
            "(`chinese-from-the-mix`). ## Answers on Gemma",
            lambda s: (ratio(s, "chinese-from-english"), ratio(s, "chinese-from-the-mix")),
        ),
        (
            "French, Swahili and Chinese are {:.0f}, {:.0f}, {:.0f} and {:.0f} (SmolLM2)",
            lambda s: tuple(math.exp(s.mean("dense", language=language)) for language in ("en", "fr", "sw", "zh")),
        ),
        (
            "with SparseGPT's ({:.2f} and {:.2f}), which were {:.2f} and {:.2f} before",
            lambda s: tuple(
                ratio_to_dense(s, name, "en")
                for name in ("wanda-24-on-english", "sparsegpt-24-on-english", "wanda-24", "sparsegpt-24")
            ),
        ),
        ("below {:.4f} (SmolLM2)", lambda s: (0.05 / sum(not row["is_primary"] for row in named(s)),)),
    ),
    ("comparison.md", "comparison-languages"): (
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
            "leaves {:.2f} of Wanda's perplexity (`reconstruction`), {:.2f} at 2:4 (`reconstruction-at-2-4`), and "
            "{:.2f} of SparseGPT's",
            lambda s: tuple(
                ratio(s, name) for name in ("reconstruction", "reconstruction-at-2-4", "reconstruction-of-sparsegpt")
            ),
        ),
        (
            "(`reconstruction-of-swaps`, {:.2f}) a gain is not shown. -",
            lambda s: (ratio(s, "reconstruction-of-swaps"),),
        ),
        (
            "Equality within {:.0f} % is not shown, nor is the opposite; swaps are at {:.2f} of Wanda (90 %: {:.2f} to "
            "{:.2f})",
            lambda s: (
                more(s.answer("mask-of-swaps-matters-little", "margin")),
                ratio(s, "mask-of-swaps-matters-little"),
                *ends(s, "mask-of-swaps-matters-little", "ci90", math.exp),
            ),
        ),
        (
            "leave {:.2f} (`french-from-french`) and {:.2f} (`swahili-from-swahili`) of the perplexity that English "
            "text leaves. The mix leaves {:.2f} in the mean outside English",
            lambda s: tuple(
                ratio(s, name)
                for name in ("french-from-french", "swahili-from-swahili", "outside-english-from-the-mix")
            ),
        ),
        (
            "{:.0f} to {:.0f} % with the mix (`english-from-the-mix`) and {:.0f} to {:.0f} % with Swahili-English "
            "(`english-from-swahili`), 95 % intervals",
            lambda s: (*ends(s, "english-from-the-mix", "ci"), *ends(s, "english-from-swahili", "ci")),
        ),
        (
            "{:.2f} times Wanda alone (95 %: {:.2f} to {:.2f}). Chinese does not pay: {:.2f} of Wanda alone with "
            "English text (`chinese-from-english`), {:.2f} with the mix",
            lambda s: (
                ratio(s, "swahili-from-english"),
                *ends(s, "swahili-from-english", "ci", math.exp),
                *(ratio(s, name) for name in ("chinese-from-english", "chinese-from-the-mix")),
            ),
        ),
        (
            "and {:.0f}, {:.0f}, {:.0f} and {:.0f} (Gemma)",
            lambda s: tuple(math.exp(s.mean("dense", language=language)) for language in ("en", "fr", "sw", "zh")),
        ),
        (
            "it has {:.1f} times the dense perplexity by row, where Wanda has {:.1f} and swaps {:.1f}",
            lambda s: tuple(ratio_to_dense(s, name, "zh") for name in ("sparsegpt", "wanda", "swaps")),
        ),
        ("and {:.4f} (Gemma)", lambda s: (0.05 / sum(not row["is_primary"] for row in named(s)),)),
    ),
}
"""(Page, frozen store) -> sentences with numbers of the store."""
