"""Self-translation: the dense model translates the examples of an evaluation to English before it answers.

If a task lists the keys of a row whose texts are in the example's language, these texts are translated one by one and
filled into the English template. Otherwise each candidate's whole text is translated, for example because a gap would
not survive translation. Etxaniz et al. 2023, arXiv:2308.01223.

The prompt is that of the task `translation`. Each distinct text is translated once, greedily, and every translation is
stored. If the model writes nothing, or a whole text too short to be scored, the original text is used. The record
counts these texts.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

from mlprune.capabilities.baselines.intervention import InterventionBaseline, InterventionJob, InterventionVariant
from mlprune.capabilities.baselines.keys import BaselineConfig
from mlprune.errors import RecipeError
from mlprune.evaluation.scoring.batches import TextLimits
from mlprune.evaluation.scoring.candidates import PreparedTask, prepare
from mlprune.evaluation.scoring.translation import PreparedTranslation, prepare_translation, run_translation
from mlprune.evaluation.tasks.items import ChoiceItem, TranslationItem
from mlprune.evaluation.tasks.task import Task
from mlprune.evaluation.tasks.task_files import TaskData
from mlprune.hashing import digest, ordered_by_hash
from mlprune.json_values import JsonObject, JsonValue
from mlprune.languages import ENGLISH
from mlprune.models.chain import Chain
from mlprune.models.loading import load_tokenizer
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.recipe.models import CorpusConfig
from mlprune.steps import job
from mlprune.steps.evaluate.model_evaluation import tasks_cost
from mlprune.steps.inputs import Inputs, open_corpus
from mlprune.steps.tasks.evaluation import Intervention, NoIntervention, as_run, task_data
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.store import Store

logger = logging.getLogger(__name__)


WHOLE = "text"
"""Key of whole texts."""
TextKey = tuple[str, str, int]
"""Example, key and index of a text."""
SCHEMA = {"example_id": "string", "key": "string", "index": "int32", "text": "string", "translation": "string"}
"""Columns of a file of translations, one row per text; `key` is `text` for the whole text of a candidate."""
_COLUMNS = ("task", "language", "split", "example_limit", "protocol_id")


@dataclass(frozen=True)
class SourceText:
    """A text to translate."""

    example_id: str
    key: str
    """Key in the row, or `WHOLE`."""
    index: int
    """Index in a list of texts, or of the candidate."""
    text: str

    @property
    def place(self) -> "TextKey":
        """Example, key and index."""
        return self.example_id, self.key, self.index


def source_texts(task: Task, data: TaskData) -> tuple[SourceText, ...]:
    """Return all texts of a task's examples that are in the examples' language, example after example."""
    items = (item for item in data.items if isinstance(item, ChoiceItem))
    return tuple(text for item in items for text in _texts_of(task, data, item))


def _texts_of(task: Task, data: TaskData, item: ChoiceItem) -> Iterator[SourceText]:
    if not task.texts:
        yield from (SourceText(item.example_id, WHOLE, index, text) for index, text in enumerate(item.texts))
        return
    row = data.rows[item.example_id]
    for key in task.texts:
        for index, text in enumerate(row_texts(row[key])):
            kept = text if task.most_words is None else " ".join(text.split()[: task.most_words])
            if kept.strip():
                yield SourceText(item.example_id, key, index, kept)


def in_english(task: Task, data: TaskData, translations: Mapping[TextKey, str]) -> tuple[ChoiceItem, ...]:
    """Return the examples of a task in English, with their right answers and the names of their candidates.

    Args:
        translations: (example, key, index) -> translation, for every text of `source_texts`.
    """
    items = [item for item in data.items if isinstance(item, ChoiceItem)]
    return tuple(_in_english(task, data, item, translations) for item in items)


def _in_english(task: Task, data: TaskData, item: ChoiceItem, translations: Mapping[TextKey, str]) -> ChoiceItem:
    if not task.texts:
        texts = tuple(translations[item.example_id, WHOLE, index] for index in range(len(item.texts)))
        return replace(item, texts=texts, starts=())
    row = dict(data.rows[item.example_id])
    for key in task.texts:
        translated = [
            translations[item.example_id, key, index] if text.strip() else ""
            for index, text in enumerate(row_texts(row[key]))
        ]
        row[key] = translated if isinstance(row[key], list) else translated[0]
    if task.answer is not None:
        row[task.answer] = item.gold  # by index: the text of the answer differs in English
    assert task.to_item is not None, "only tasks with candidates are translated"
    english = task.to_item(item.example_id, row)
    assert isinstance(english, ChoiceItem), "the task kept this example in its own language"
    return replace(english, candidates=item.candidates, gold=item.gold, cluster=item.cluster, category=item.category)


def row_texts(value: object) -> list[str]:
    """Return the texts of a value of a row: those of a list, or the value itself."""
    return [str(text) for text in value] if isinstance(value, list) else [str(value)]


@dataclass(frozen=True)
class Shots:
    """Shots of a prompt, and the longest translation."""

    corpus: CorpusConfig
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
def prepared_texts(task: TaskSpec, shots: Shots, model: job.ModelRef, batch_tokens: int) -> PreparedTranslation:
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
        TextLimits(batch_tokens, model.max_positions, max_new_tokens=shots.max_new_tokens),
        shots=shots.pairs(task.language),
        pair=(task.language, ENGLISH),
    )


@dataclass(frozen=True)
class SelfTranslateJob(job.RecordJob, job.ModelJob):
    """Translate the examples of one task, language and split."""

    step: ClassVar[str] = "translate"
    model: job.ModelRef
    task: TaskSpec
    shots: Shots

    @property
    def chain_model(self) -> job.ModelRef:
        """The model that translates."""
        return self.model

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """The base model."""
        return (("base_models", self.model.base_model_id),)

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """Cost of translating all texts."""
        prepared = self._prepared()
        cost = tasks_cost(self.step, sizes, [prepared], batch_tokens=self.batch_tokens, device=self.model.device)
        return replace(cost, disk_bytes=400.0 * len(prepared.items))

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Translate, store every text, then write the record."""
        model = chain()
        model.everywhere(Shard.set_keep_masks, None)
        prepared, tokenizer = self._prepared(), load_tokenizer(Path(self.model.path))
        outputs = [result.output for result in run_translation(model, tokenizer, prepared)]
        if not self.task.definition.texts:
            outputs = [output if len(tokenizer(output)["input_ids"]) > 1 else "" for output in outputs]
        by_text = {item.source: output for item, output in zip(prepared.items, outputs, strict=True)}
        translations = {text.place: by_text[text.text] for text in texts_of(self.task)}
        made_by = {"base_model_id": self.model.base_model_id}
        write_translations(store, self.identity, self.task, translations, made_by=made_by)

    def _prepared(self) -> PreparedTranslation:
        return prepared_texts(self.task, self.shots, self.model, self.batch_tokens)


def write_translations(
    store: Store,
    identity: job.Identity,
    task: TaskSpec,
    translations: Mapping[TextKey, str],
    *,
    made_by: Mapping[str, JsonValue],
) -> None:
    """Write every text of a task with its translation, then the record.

    Args:
        translations: of every text; an empty one leaves the text as it is.
        made_by: columns of the record that say which model or system translated.
    """
    texts = texts_of(task)
    columns: dict[str, list[object]] = {
        "example_id": [text.example_id for text in texts],
        "key": [text.key for text in texts],
        "index": [text.index for text in texts],
        "text": [text.text for text in texts],
        "translation": [translations[text.place] for text in texts],
    }
    artefact = store.write_table(f"translations/{identity.id}.parquet", columns, SCHEMA)
    n_empty = columns["translation"].count("")
    if n_empty:
        message = "%d of %d texts of %s in %s have no translation and stay as they are"
        logger.warning(message, n_empty, len(texts), task.task, task.language)
    row: dict[str, JsonValue] = {
        "translations_id": identity.id,
        **made_by,
        **{name: value for name, value in task.columns.items() if name in _COLUMNS},
        "n_texts": len(texts),
        "n_distinct": len({text.text for text in texts}),
        "n_empty": n_empty,
    }
    store.write_record(identity.record(artefacts=(artefact,), rows={"self_translations": [row]}))


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
    def needs(self) -> tuple[job.RecordKey, ...]:
        """The translations."""
        return (("self_translations", self.translations_id),)

    def active(self, chain: Chain, store: Store) -> AbstractContextManager[None]:
        """Leave the model as it is."""
        return nullcontext()

    def prepared(
        self, store: Store, task: TaskSpec, model: job.ModelRef, *, batch_tokens: int
    ) -> PreparedTask | PreparedTranslation:
        """Return the translated examples."""
        return translated_task(store, self.translations_id, task, model, batch_tokens=batch_tokens)


def translated_task(
    store: Store, translations_id: str, task: TaskSpec, model: job.ModelRef, *, batch_tokens: int
) -> PreparedTask:
    """Return the examples of a task in the model's own English, tokenised and divided into batches.

    Raises:
        TaskFileError: a translated text is longer than the model's positions.
        DamagedArtefactError: the file of translations is missing or differs from the record.
    """
    table = store.read_table(store.require("self_translations", translations_id).artefacts[0])
    keys = zip(table["example_id"], table["key"], table["index"], strict=True)
    pairs = zip(table["text"], table["translation"], strict=True)
    translations: Mapping[TextKey, str] = dict(
        zip(keys, (translation or text for text, translation in pairs), strict=True)
    )
    items = in_english(task.definition, task_data(task), translations)
    tokenizer = load_tokenizer(Path(model.path))
    limits = TextLimits(batch_tokens, model.max_positions, device=model.device, whole_texts=model.runs_whole_texts)
    return prepare(tokenizer, items, limits)


@dataclass(frozen=True, kw_only=True)
class SelfTranslation(InterventionBaseline):
    """Evaluate tasks on the model's own translations of their examples."""

    shots: Shots
    batch_tokens: int

    def intervention(self, task: TaskSpec) -> Intervention | None:
        """Evaluate on the translations of the task's examples; English examples stay as they are.

        Tasks without candidates cannot be asked in English, and native prompts would be English ones.

        Raises:
            CorpusError: the corpus lacks the language.
            RecipeError: the task leaves out or cuts items that are longer than the model: their prompts are too long;
                or it is asked in a chat.
        """
        refuse_other_items("self_translate", task)
        if task.definition.reads != "candidates" or task.prompts == "native":
            return None
        return NoIntervention() if task.language == ENGLISH else TranslatedExamples(self._identity(task).id)

    def jobs(self, tasks: Sequence[TaskSpec]) -> list[job.Job]:
        """A job for the variant, and one for every task, language and split."""
        model, shots = self.spec.model, self.shots
        jobs: list[job.Job] = [InterventionJob(self.spec.identity, self.spec)]
        for task in dict.fromkeys(as_run(task) for task in tasks if task.language != ENGLISH):
            jobs.append(SelfTranslateJob(self._identity(task), model, task, shots, batch_tokens=self.batch_tokens))
        return jobs

    def _identity(self, task: TaskSpec) -> job.Identity:
        parameters = {
            **dict(self.spec.settings),
            "task": as_run(task).parameters,
            **job.computed_parameters(self.spec.model, batch_tokens=self.batch_tokens),
        }
        contents = {"items": task_data(task).content_sha256, "shots": digest(self.shots.pairs(task.language))}
        parents = {"base_model": self.spec.model.base_model_id}
        return job.make_identity("self_translations", parameters, parents=parents, contents=contents)


def refuse_other_items(kind: str, task: TaskSpec) -> None:
    """Refuse evaluations whose translated items would be others than the items in their language.

    Raises:
        RecipeError: the task leaves out or cuts long items, or is asked in a chat.
    """
    if task.longer != "refuse":
        message = f"{kind} needs a translation of every item, so none may be left out or cut"
        raise RecipeError(message, task=task.task, key="longer", expected="refuse", got=task.longer)
    if task.chat is not None:
        message = f"{kind} asks without a chat"
        raise RecipeError(message, task=task.task, key="chat", expected="an evaluation without chat", got="chat")


def self_translation(inputs: Inputs, entry: BaselineConfig, *, batch_tokens: int) -> SelfTranslation:
    """Plan the baseline of an entry. The English side of its shots determines its sentences in every language.

    Raises:
        RecipeError: the corpus has fewer sentences than a prompt shows.
        CorpusError: the corpus has no English.
    """
    shots = Shots(inputs.corpus_ref, entry.shots, entry.seed, entry.max_new_tokens)
    english = [sentence for sentence, _ in shots.pairs(ENGLISH)]
    if len(english) < entry.shots:
        message = "too few sentences for the shots of a prompt"
        raise RecipeError(message, baseline=entry.name, expected=entry.shots, got=len(english))
    all_settings = {"shots": entry.shots, "seed": entry.seed, "max_new_tokens": entry.max_new_tokens}
    given = {name: n for name, n in all_settings.items() if n != BaselineConfig.model_fields[name].default}
    computed = job.computed_parameters(inputs.model, batch_tokens=batch_tokens)
    parameters: JsonObject = {"intervention": entry.kind, "sparsity": 0, **given, **computed}
    parents, contents = {"base_model": inputs.base.id}, {"english_shots": digest(english)}
    identity = job.make_identity("variants", parameters, parents=parents, contents=contents)
    spec = InterventionVariant(identity, inputs.model, entry.kind, tuple(given.items()))
    return SelfTranslation(spec=spec, shots=shots, batch_tokens=batch_tokens)
