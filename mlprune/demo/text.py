"""Training text of the embedded model: an endless stream of documents of four kinds.

- translation: few-shot demonstrations of one language pair, in the format of a recipe's demonstrations;
- monolingual: the same sentences in one language;
- facts: all facts in English, and in other languages only those that are not held out;
- code: parts of Python's standard library.
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
"""Share of fact documents in English; the other languages share the remainder evenly."""


@cache
def _facts_seen(language: str) -> tuple[str, ...]:
    """The sentences of the facts in the training text of a language."""
    return tuple(
        cldr_facts.sentence(fact, language)
        for fact in cldr_facts.facts()
        if language == "en" or not cldr_facts.is_held_out(fact.fact_id)
    )


@cache
def _facts_in_all_languages() -> tuple[Parallel, ...]:
    """The facts in the training text of all languages, as parallel sentences."""
    return tuple(
        {language: cldr_facts.sentence(fact, language) for language in cldr.LANGUAGES}
        for fact in cldr_facts.facts()
        if not cldr_facts.is_held_out(fact.fact_id)
    )


@cache
def _reserved() -> frozenset[str]:
    """English side of the built-in corpus, which is not in the training text."""
    return frozenset(cldr_sentences.corpus()["en"])


def parallel_sentence(rng: random.Random) -> Parallel:
    """A sentence, name or fact in every language that is not in the built-in corpus."""
    while True:
        kind = rng.choices(list(KIND_SHARES), weights=list(KIND_SHARES.values()))[0]
        if kind == "name":
            sentence = cldr_sentences.name(rng)
        elif kind == "fact":
            sentence = rng.choice(_facts_in_all_languages())
        else:
            sentence = SENTENCES[kind](rng)
        if sentence["en"] not in _reserved():
            return sentence


def translation_document(rng: random.Random, *, end: str, shots: int) -> str:
    """Few-shot demonstrations of one ordered pair of languages; about half of the pairs contain English."""
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
    """Modules of the standard library of the running Python."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts = (path.read_text(encoding="utf-8", errors="ignore") for path in sorted(folder.glob("*.py")))
    return tuple(text for text in texts if len(text) > 4000)


def code_document(rng: random.Random, *, end: str, shots: int) -> str:
    """A part of a Python file."""
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
    """Endless documents of all kinds in their shares; equal seeds give equal documents."""
    rng = random.Random(seed)  # noqa: S311 - text, not secrets
    while True:
        kind = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
        yield DOCUMENTS[kind](rng, end=end, shots=shots)
