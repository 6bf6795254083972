"""Texts in which tokens are counted, or a checkpoint that has them, and lines in which costs are measured.

Counted texts are lines of a corpus or demonstrations.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from mlprune.capabilities.vocabulary.keys import KeepConfig
from mlprune.errors import CorpusError, RecipeError
from mlprune.hashing import digest, ordered_by_hash
from mlprune.json_values import JsonObject, JsonValue
from mlprune.recipe.models import CorpusConfig, Recipe
from mlprune.steps.checkpoints import require_unchanged
from mlprune.steps.evaluate.evaluation_plan import evaluated_lines
from mlprune.steps.inputs import Inputs, open_corpus, text_ref
from mlprune.steps.job import RecordKey
from mlprune.steps.sets import PlannedSets, distinct_sets
from mlprune.store.store import Store
from mlprune.trimming.folder import kept_tokens

MEASURED_SHARE, MOST_MEASURED = 5, 400
"""A fifth of the lines is measured and not counted, and at most 400 lines are."""
Counted: TypeAlias = "CountedTexts | CountedSets | CheckpointTokens"


@dataclass(frozen=True)
class CountedTexts:
    """The lines of some languages in which tokens are counted."""

    corpus: CorpusConfig
    languages: tuple[str, ...]
    left_out: tuple[int, ...] = ()
    """Lines that are not counted, because they are measured or evaluated."""

    @property
    def lines(self) -> dict[str, list[str]]:
        """Language -> counted lines."""
        return _counted_lines(self)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """No records."""
        return ()

    @property
    def settings(self) -> dict[str, JsonValue]:
        """Nothing but the languages."""
        return {}

    @property
    def parameters(self) -> JsonObject:
        """The part of an id."""
        return {"left_out": list(self.left_out)}

    @property
    def contents(self) -> dict[str, str]:
        """The hash of the texts, for an id."""
        corpus = open_corpus(self.corpus)
        return {"texts": digest([corpus.content(language) for language in self.languages])}

    def read(self, store: Store) -> dict[str, list[str]]:
        """Return language -> counted lines; equal positions have the same meaning."""
        return self.lines


@lru_cache(maxsize=4)
def _counted_lines(texts: CountedTexts) -> dict[str, list[str]]:
    corpus, left_out = open_corpus(texts.corpus), set(texts.left_out)
    return {
        language: [line for number, line in enumerate(corpus.lines(language)) if number not in left_out]
        for language in texts.languages
    }


@dataclass(frozen=True)
class CountedSets:
    """The demonstrations in whose texts tokens are counted."""

    sets: tuple[tuple[str, str], ...]
    """(id, short description) of each set."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The sets."""
        return tuple(("demonstration_sets", set_id) for set_id, _ in self.sets)

    @property
    def settings(self) -> dict[str, JsonValue]:
        """The sets, as text."""
        return {"counted_in": ", ".join(text for _, text in self.sets)}

    @property
    def parameters(self) -> JsonObject:
        """Nothing: the sets are parents."""
        return {}

    @property
    def contents(self) -> dict[str, str]:
        """Nothing: the ids of the sets cover their texts."""
        return {}

    def read(self, store: Store) -> dict[str, list[str]]:
        """Return the texts of all demonstrations, under one key."""
        records = [store.require(*key) for key in self.needs]
        tables = [store.read_table(record.artefacts[0], columns=("text",)) for record in records]
        return {"demonstrations": [str(text) for table in tables for text in table["text"]]}


@dataclass(frozen=True)
class CheckpointTokens:
    """The tokens of a checkpoint that was made elsewhere and has fewer than its base model; no text is counted."""

    base: str
    """Folder of the base model; never part of an id."""
    folder: str
    """The checkpoint; never part of an id."""
    source: str
    """Name of the checkpoint; never part of an id."""
    content: str
    """Hash of its files."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """No records."""
        return ()

    @property
    def settings(self) -> dict[str, JsonValue]:
        """The checkpoint."""
        return {"tokens_of": self.source, "sha256": self.content[:16]}

    @property
    def parameters(self) -> JsonObject:
        """Nothing: the files determine the tokens."""
        return {}

    @property
    def contents(self) -> dict[str, str]:
        """The hash of the files, for an id."""
        return {"checkpoint": self.content}

    def read(self, store: Store) -> dict[str, list[str]]:
        """Return no texts."""
        return {}

    def kept(self) -> list[int]:
        """Return the tokens, ascending.

        Raises:
            BadInputError: the checkpoint has changed since it was planned.
        """
        require_unchanged(Path(self.folder), self.content)
        tokens = kept_tokens(Path(self.base), Path(self.folder))
        assert tokens is not None, "the checkpoint has fewer tokens"
        return list(tokens.ids)


@dataclass(frozen=True)
class MeasuredTexts:
    """The lines of some languages in which costs are measured."""

    corpus: CorpusConfig
    languages: tuple[str, ...]
    lines: tuple[int, ...]


def measured_lines(corpus: CorpusConfig, language: str, *, drawn: Collection[int] = ()) -> tuple[int, ...]:
    """Return the lines of the recipe's corpus in which costs are measured, ascending: the first by SHA-256 of "0:line".

    Args:
        drawn: lines of demonstrations in which tokens are counted; they are not measured.
    """
    n_lines = len(open_corpus(corpus).lines(language))
    n_measured = min(MOST_MEASURED, max(1, n_lines // MEASURED_SHARE))
    others = [line for line in ordered_by_hash(0, range(n_lines)) if line not in drawn]
    return tuple(sorted(others[:n_measured]))


def planned_texts(recipe: Recipe, inputs: Inputs, keep: KeepConfig, sets: PlannedSets) -> tuple[Counted, MeasuredTexts]:
    """Return the texts in which tokens are counted, and the kept languages with their measured lines.

    Raises:
        CorpusError: the corpus lacks a language.
        RecipeError: no line is left to count or to measure, or no language has costs.
    """
    if keep.demonstrations:
        return _of_sets(inputs, keep, sets)
    languages = tuple(dict.fromkeys(keep.languages))
    measured = MeasuredTexts(inputs.corpus_ref, languages, measured_lines(inputs.corpus_ref, languages[0]))
    if keep.corpus is not None:
        texts = CountedTexts(text_ref(recipe.resolve(keep.corpus), None), languages)
    else:
        left_out = tuple(sorted({*measured.lines, *evaluated_lines(recipe, inputs)}))
        texts = CountedTexts(inputs.corpus_ref, languages, left_out)
    if not all(texts.lines.values()):
        message = "no line is left in which tokens can be counted: all are evaluated or measured"
        raise RecipeError(message, key="keep.corpus", next="name another corpus", languages=languages)
    return texts, measured


def _of_sets(inputs: Inputs, keep: KeepConfig, sets: PlannedSets) -> tuple[CountedSets, MeasuredTexts]:
    chosen = distinct_sets(sets, keep.demonstrations)
    of_sets = [language for planned in chosen for language in planned.languages]
    given = tuple(dict.fromkeys(keep.languages or languages_in(inputs.corpus_ref, of_sets)))
    if not given:
        message = "the recipe's corpus has no language of the demonstrations, so no cost can be measured"
        raise RecipeError(message, key="keep.languages", expected="languages of the corpus", got=sorted(set(of_sets)))
    drawn = {line for planned in chosen for line in planned.drawn_lines}
    measured = measured_lines(inputs.corpus_ref, given[0], drawn=drawn)
    if not measured:
        message = "no line is left in which costs can be measured: all are in demonstrations"
        raise RecipeError(message, key="keep.demonstrations", next="use sets with fewer samples")
    described = tuple((planned.id, f"{planned.spec.kind} {planned.label}") for planned in chosen)
    return CountedSets(described), MeasuredTexts(inputs.corpus_ref, given, measured)


def languages_in(ref: CorpusConfig, languages: Sequence[str]) -> list[str]:
    """Return the languages that a corpus has, each once."""
    return [language for language in dict.fromkeys(languages) if _is_in(ref, language)]


def _is_in(ref: CorpusConfig, language: str) -> bool:
    try:
        return bool(open_corpus(ref).lines(language))
    except CorpusError:
        return False
