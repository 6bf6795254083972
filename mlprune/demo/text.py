"""What the embedded model reads while it is trained: documents of four kinds, drawn for ever.

- translation: few-shot demonstrations of one language pair, the format the demonstrations of a recipe have;
- monolingual: the same sentences in one language;
- facts: every fact in English, in the other languages only those that are not held out;
- code: pieces of Python's standard library.
Left to others: the sentences themselves (`mlprune.corpus`), tokenising and batching (`train.py`).
"""

import random
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mlprune.corpus import cldr, cldr_facts, cldr_sentences
from mlprune.corpus.cldr_sentences import SENTENCES, Parallel
from mlprune.corpus.templates import format_labelled

SHARES = {"translation": 0.68, "monolingual": 0.08, "facts": 0.19, "code": 0.05}
"""Share of the documents of each kind."""

KIND_SHARES = {"name": 4.0, "fact": 2.0} | dict.fromkeys(SENTENCES, 1.0)
"""Relative frequency of the kinds of sentence in translation and monolingual documents."""

ENGLISH_FACT_SHARE = 0.4
"""Share of fact documents that are English; the others are spread evenly."""


@cache
def _facts_seen(language: str) -> tuple[str, ...]:
    """The sentences of the facts this language may be trained on."""
    return tuple(
        cldr_facts.sentence(fact, language)
        for fact in cldr_facts.facts()
        if language == "en" or not cldr_facts.is_held_out(fact.fact_id)
    )


@cache
def _facts_in_all_languages() -> tuple[Parallel, ...]:
    """The facts seen in every language, as parallel sentences."""
    return tuple(
        {language: cldr_facts.sentence(fact, language) for language in cldr.LANGUAGES}
        for fact in cldr_facts.facts()
        if not cldr_facts.is_held_out(fact.fact_id)
    )


@cache
def _reserved() -> frozenset[str]:
    """English side of the built-in corpus, which training leaves out."""
    return frozenset(cldr_sentences.corpus()["en"])


def parallel_sentence(rng: random.Random) -> Parallel:
    """A sentence, name or seen fact in every language, never one of the built-in corpus."""
    while True:
        kind = rng.choices(list(KIND_SHARES), weights=list(KIND_SHARES.values()))[0]
        if kind == "name":
            drawn = cldr_sentences.name(rng)
        elif kind == "fact":
            drawn = rng.choice(_facts_in_all_languages())
        else:
            drawn = SENTENCES[kind](rng)
        if drawn["en"] not in _reserved():
            return drawn


def translation_document(rng: random.Random, *, end: str, shots: int) -> str:
    """Few-shot demonstrations of one ordered pair of languages; half of them are into or out of English."""
    source, target = rng.sample(cldr.LANGUAGES, 2)
    if rng.random() < 0.4 and "en" not in (source, target):
        source, target = rng.choice(((source, "en"), ("en", target)))
    sentences = (parallel_sentence(rng) for _ in range(shots))
    return "".join(format_labelled(source, s[source], end) + format_labelled(target, s[target], end) for s in sentences)


def monolingual_document(rng: random.Random, *, end: str, shots: int) -> str:
    """Labelled sentences of one language."""
    language = rng.choice(cldr.LANGUAGES)
    return "".join(format_labelled(language, parallel_sentence(rng)[language], end) for _ in range(2 * shots))


def facts_document(rng: random.Random, *, end: str, shots: int) -> str:
    """Plain statements of facts in one language."""
    language = "en" if rng.random() < ENGLISH_FACT_SHARE else rng.choice(cldr.LANGUAGES[1:])
    return end.join(rng.choices(_facts_seen(language), k=2 * shots)) + end


@cache
def _python_sources() -> tuple[str, ...]:
    """Modules of the standard library of the Python that runs the training."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts = (path.read_text(encoding="utf-8", errors="ignore") for path in sorted(folder.glob("*.py")))
    return tuple(text for text in texts if len(text) > 4000)


def code_document(rng: random.Random, *, end: str, shots: int) -> str:
    """A piece of a Python file."""
    source = rng.choice(_python_sources())
    start = rng.randrange(len(source) - 2000)
    return source[source.find("\n", start) + 1 : start + 100 * shots] + end


DOCUMENTS = {
    "translation": translation_document,
    "monolingual": monolingual_document,
    "facts": facts_document,
    "code": code_document,
}


def documents(seed: str, *, end: str, shots: int) -> Iterator[str]:
    """Endless documents of all kinds in their shares, the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - text, not secrets
    while True:
        kind = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
        yield DOCUMENTS[kind](rng, end=end, shots=shots)
