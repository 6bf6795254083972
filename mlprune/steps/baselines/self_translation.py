"""Self-translation: the dense model translates the examples of an evaluation to English before it is evaluated on them.

The prompt is that of the task `translation`. Each distinct text is translated once, greedily, and every translation is
stored. If the model writes nothing, or a whole text too short to be scored, the original text is used. The record
counts these texts.
"""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from mlprune.evaluation.scoring.candidates import PreparedTask, prepare
from mlprune.evaluation.scoring.translation import PreparedTranslation, prepare_translation, run_translation
from mlprune.evaluation.self_translation_prompts import SourceText, in_english, source_texts
from mlprune.evaluation.tasks.items import TranslationItem
from mlprune.hashing import ordered_by_hash
from mlprune.json_values import JsonObject
from mlprune.languages import ENGLISH
from mlprune.models.chain import Chain
from mlprune.models.loading import load_tokenizer
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.steps.corpus_ref import CorpusRef, open_corpus
from mlprune.steps.evaluate.cost import tasks_cost
from mlprune.steps.evaluate.task_items import task_data
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.job import ChainLoader, ModelJob, ModelRef, RecordJob, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.store.store import Store

logger = logging.getLogger(__name__)


SCHEMA = {"example_id": "string", "key": "string", "index": "int32", "text": "string", "translation": "string"}
"""Columns of a file of translations, one row per text; `key` is `text` for the whole text of a candidate."""


@dataclass(frozen=True)
class Shots:
    """Shots of a prompt, and the longest translation."""

    corpus: CorpusRef
    """Corpus of aligned sentences."""
    n: int
    seed: int
    max_new_tokens: int

    def pairs(self, language: str) -> list[tuple[str, str]]:
        """Return the first sentences in seeded order, with their English translations.

        Raises:
            CorpusError: the corpus lacks the language or English.
        """
        corpus = open_corpus(self.corpus)
        source, target = corpus.lines(language), corpus.lines(ENGLISH)
        lines = ordered_by_hash(self.seed, range(len(target)))[: self.n]
        return [(source[line], target[line]) for line in lines]


def texts_of(task: TaskSpec) -> tuple[SourceText, ...]:
    """Return the texts of a task that are translated."""
    return source_texts(task.definition, task_data(task))


@cache
def prepared_texts(task: TaskSpec, shots: Shots, model: ModelRef, batch_tokens: int) -> PreparedTranslation:
    """Return the distinct texts of a task as prompts, divided into batches.

    Raises:
        TaskFileError: a prompt leaves no room for the new tokens.
        ModelError: the tokenizer has no end-of-sequence token.
        CorpusError: the corpus lacks the language or English, or CLDR has no name for the language.
    """
    distinct = {text.text: text.example_id for text in texts_of(task)}
    return prepare_translation(
        load_tokenizer(Path(model.path)),
        [TranslationItem(example_id, text, "") for text, example_id in distinct.items()],
        shots=shots.pairs(task.language),
        source=task.language,
        target=ENGLISH,
        batch_tokens=batch_tokens,
        max_positions=model.max_positions,
        max_new_tokens=shots.max_new_tokens,
    )


@dataclass(frozen=True)
class SelfTranslateJob(RecordJob, ModelJob):
    """Translate the examples of one task, language and split."""

    step: ClassVar[str] = "translate"
    model: ModelRef
    task: TaskSpec
    shots: Shots

    @property
    def chain_model(self) -> ModelRef:
        """The model that translates."""
        return self.model

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The base model."""
        return (("base_models", self.model.base_model_id),)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of translating all texts."""
        prepared = self._prepared()
        disk_bytes = 400.0 * len(prepared.items)
        return tasks_cost(
            self.step,
            sizes,
            [prepared],
            batch_tokens=self.batch_tokens,
            device=self.model.device,
            disk_bytes=disk_bytes,
        )

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Translate, store every text, then write the record."""
        model = chain()
        model.everywhere(Shard.set_keep_masks, None)
        prepared, tokenizer = self._prepared(), load_tokenizer(Path(self.model.path))
        outputs = [result.output for result in run_translation(model, tokenizer, prepared)]
        if not self.task.definition.texts:
            outputs = [output if len(tokenizer(output)["input_ids"]) > 1 else "" for output in outputs]
        translations = {item.source: output for item, output in zip(prepared.items, outputs, strict=True)}
        self._write(store, translations)

    def _prepared(self) -> PreparedTranslation:
        return prepared_texts(self.task, self.shots, self.model, self.batch_tokens)

    def _write(self, store: Store, translations: Mapping[str, str]) -> None:
        """Write every text with its translation, then the record."""
        texts = texts_of(self.task)
        columns: dict[str, list[object]] = {
            "example_id": [text.example_id for text in texts],
            "key": [text.key for text in texts],
            "index": [text.index for text in texts],
            "text": [text.text for text in texts],
            "translation": [translations[text.text] for text in texts],
        }
        artefact = store.write_table(f"translations/{self.identity.id}.parquet", columns, SCHEMA)
        n_empty = columns["translation"].count("")
        if n_empty:
            message = "%d of %d texts of %s in %s have no translation and stay as they are"
            logger.warning(message, n_empty, len(texts), self.task.task, self.task.language)
        row = {
            "translations_id": self.identity.id,
            "base_model_id": self.model.base_model_id,
            **{name: value for name, value in self.task.columns.items() if name in _COLUMNS},
            "n_texts": len(texts),
            "n_distinct": len(translations),
            "n_empty": n_empty,
        }
        store.write_record(self.identity.record(artefacts=(artefact,), rows={"self_translations": [row]}))


_COLUMNS = ("task", "language", "split", "example_limit", "protocol_id")


@dataclass(frozen=True)
class TranslatedExamples:
    """Self-translation in one evaluation: its examples are in the model's own English."""

    translations_id: str
    """Record of the translations."""

    @property
    def parents(self) -> JsonObject:
        """The translations."""
        return {"translations": self.translations_id}

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The translations."""
        return (("self_translations", self.translations_id),)

    def active(self, chain: Chain, store: Store) -> AbstractContextManager[None]:
        """Leave the model as it is."""
        return nullcontext()

    def prepared(
        self, store: Store, task: TaskSpec, model: ModelRef, *, batch_tokens: int
    ) -> PreparedTask | PreparedTranslation:
        """Return the translated examples."""
        return translated_task(store, self.translations_id, task, model, batch_tokens=batch_tokens)


def translated_task(
    store: Store, translations_id: str, task: TaskSpec, model: ModelRef, *, batch_tokens: int
) -> PreparedTask:
    """Return the examples of a task in the model's own English, tokenised and divided into batches.

    Raises:
        TaskFileError: a translated text is longer than the model's positions.
        DamagedArtefactError: the file of translations is missing or differs from the record.
    """
    table = store.read_table(store.require("self_translations", translations_id).artefacts[0])
    keys = zip(table["example_id"], table["key"], table["index"], strict=True)
    pairs = zip(table["text"], table["translation"], strict=True)
    translations: Mapping[tuple[str, str, int], str] = dict(
        zip(keys, (translation or text for text, translation in pairs), strict=True)
    )
    items = in_english(task.definition, task_data(task), translations)
    tokenizer = load_tokenizer(Path(model.path))
    return prepare(tokenizer, items, batch_tokens=batch_tokens, max_positions=model.max_positions, device=model.device)
