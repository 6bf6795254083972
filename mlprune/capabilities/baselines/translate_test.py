"""Translate-test: the dense model answers given English translations of the examples of an evaluation.

The translations are files of the task whose rows are in English, such as `xnli_mt` (Etxaniz et al. 2023,
arXiv:2308.01223). Each example is answered in English, and paired with the same example in its own language. What was
read is stored like the model's own translations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from mlprune.capabilities.baselines.intervention import InterventionBaseline, InterventionJob, InterventionVariant
from mlprune.capabilities.baselines.keys import BaselineConfig
from mlprune.capabilities.baselines.self_translation import (
    TextKey,
    TranslatedExamples,
    refuse_other_items,
    row_texts,
    source_texts,
    write_translations,
)
from mlprune.errors import MissingTaskFileError, RecipeError, TaskFileError
from mlprune.evaluation.tasks.hub_datasets import HubSource, pinned
from mlprune.evaluation.tasks.items import ChoiceItem, Row
from mlprune.evaluation.tasks.task import Task
from mlprune.evaluation.tasks.task_files import ItemSelection, TaskData, log_once, read_items
from mlprune.json_values import JsonObject
from mlprune.languages import ENGLISH
from mlprune.recipe.models import Recipe
from mlprune.steps import job
from mlprune.steps.inputs import Inputs
from mlprune.steps.tasks.evaluation import Intervention, NoIntervention, as_run, task_data
from mlprune.steps.tasks.task_spec import TaskSpec, task_source
from mlprune.store.store import Store

Source = Path | HubSource
"""Folder, file or archive with the translations of a task, or the data set of a hub."""


def given_translations(task: Task, data: TaskData, given: TaskData) -> dict[TextKey, str]:
    """Return (example, key, index) -> given translation, for every text of `source_texts`; empty for a blank one.

    Args:
        data: the examples in their language.
        given: the same examples in English.
    Raises:
        TaskFileError: the examples differ, or an example has another number of texts.
    """
    rows = paired_rows(data, given)
    translations: dict[TextKey, str] = {}
    for text in source_texts(task, data):
        texts = row_texts(rows[text.example_id][text.key]) if text.example_id in rows else []
        if text.example_id in rows and text.index >= len(texts):
            message = "a translated example has fewer texts"
            context = {"file": given.path, "example": text.example_id, "key": text.key}
            raise TaskFileError(message, context, expected=f"more than {text.index}", got=len(texts))
        translations[text.example_id, text.key, text.index] = texts[text.index].strip() if texts else ""
    return translations


def paired_rows(data: TaskData, given: TaskData) -> dict[str, Row]:
    """Return id of an example -> the row of its translation, by equal ids, or by equal places in files of equal length.

    An example whose translation has a blank text is left out.

    Raises:
        TaskFileError: examples have no translation, or one with another right answer.
    """
    items = {item.example_id: item for item in data.items}
    names = {line: name for name, line in given.lines.items()}
    pairings = []
    if items.keys() <= given.lines.keys():
        pairings.append({name: name for name in items})
    if len(data.lines) == len(given.lines):
        pairings.append({name: names[data.lines[name]] for name in items})
    golds = {item.example_id: _gold(item) for item in given.items}
    for pairing in pairings:
        if all(golds.get(other, _gold(items[name])) == _gold(items[name]) for name, other in pairing.items()):
            return {name: given.rows[other] for name, other in pairing.items() if other in given.rows}
    message = "the translations are not those of the examples"
    expected = "the ids of the examples, or as many rows in the same order, with equal right answers"
    got = f"{len(given.lines)} rows for {len(data.lines)}"
    raise TaskFileError(message, file=given.path, examples=data.path, expected=expected, got=got)


def _gold(item: object) -> int:
    assert isinstance(item, ChoiceItem), "only tasks with candidates have translations"
    return item.gold


@cache
def _given(source: Source, task: TaskSpec) -> TaskData:
    """Read the translations of the examples of a task."""
    return read_items(task.definition, source, ItemSelection(task.language, task.split), aligned=task.aligned)


@dataclass(frozen=True)
class GivenTranslationsJob(job.SmallJob):
    """Store the given translations of one task, language and split."""

    step: ClassVar[str] = "translate"
    task: TaskSpec
    source: Source
    system: str

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """None."""
        return ()

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Pair and store every text, then write the record."""
        translations = given_translations(self.task.definition, task_data(self.task), _given(self.source, self.task))
        write_translations(store, self.identity, self.task, translations, made_by={"system": self.system})


@dataclass(frozen=True, kw_only=True)
class TranslateTest(InterventionBaseline):
    """Evaluate tasks on given translations of their examples."""

    name: str
    """The entry, for messages."""
    system: str
    sources: tuple[tuple[str, Source], ...]
    """Task -> its translations."""

    def intervention(self, task: TaskSpec) -> Intervention | None:
        """Evaluate on the translations of the task's examples; English examples stay as they are.

        Nothing is evaluated without translations, and in native prompts, which would be English ones.

        Raises:
            RecipeError: the task leaves out or cuts long items, is asked in a chat, or has no texts to fill in.
            TaskFileError: the translations are wrong, or not those of the examples.
        """
        if task.task not in dict(self.sources) or task.prompts == "native":
            return None
        refuse_other_items("translate_test", task)
        if not task.definition.texts:
            message = "given translations are texts of a row, and the rows of this task make sense only as a whole"
            raise RecipeError(message, baseline=self.name, task=task.task, expected="another task or self_translate")
        if task.language == ENGLISH:
            return NoIntervention()
        try:
            return TranslatedExamples(self._job(task).identity.id)
        except MissingTaskFileError as err:
            log_once(f"{self.name}: no translations of {task.task} {task.language} {task.split}: {err}")
            return None

    def jobs(self, tasks: Sequence[TaskSpec]) -> list[job.Job]:
        """A job for the variant, and one for every task, language and split with translations.

        Raises:
            RecipeError: there are none.
        """
        translated = dict.fromkeys(as_run(task) for task in tasks if task.language != ENGLISH)
        if not translated:
            message = "no evaluation has given translations"
            expected = (
                f"evaluations of {' or '.join(name for name, _ in self.sources)} in a translated language and split"
            )
            raise RecipeError(message, baseline=self.name, expected=expected, got="none")
        return [InterventionJob(self.spec.identity, self.spec), *(self._job(task) for task in translated)]

    def _job(self, task: TaskSpec) -> GivenTranslationsJob:
        """Plan the job of a task in a language other than English.

        Raises:
            MissingTaskFileError: it has no translations.
            TaskFileError: see `given_translations`.
        """
        run = as_run(task)
        source = dict(self.sources)[task.task]
        if isinstance(source, HubSource):
            source = pinned(source, (task.language,), task.split)
        data, given = task_data(run), _given(source, run)
        given_translations(run.definition, data, given)
        contents = {"items": data.content_sha256, "translations": given.content_sha256}
        identity = job.make_identity(
            "self_translations", {"system": self.system, "task": run.parameters}, contents=contents
        )
        return GivenTranslationsJob(identity, run, source, self.system)


def translate_test(recipe: Recipe, inputs: Inputs, entry: BaselineConfig) -> TranslateTest:
    """Plan the baseline of an entry. Its evaluations depend on the contents of the translations.

    Raises:
        RecipeError: a task is not evaluated, or a data set of a hub is unknown.
    """
    given: Mapping[str, str] = dict(entry.translations or ())
    evaluated = {evaluation.task for evaluation in recipe.evaluations}
    for task in given:
        if task not in evaluated:
            message = "translations of a task that is not evaluated"
            raise RecipeError(message, baseline=entry.name, expected=sorted(evaluated), got=task)
    sources = tuple((task, task_source(recipe, path)) for task, path in given.items())
    settings: JsonObject = {"system": entry.system or ""}
    parameters: JsonObject = {"intervention": entry.kind, "sparsity": 0, **settings}
    identity = job.make_identity("variants", parameters, parents={"base_model": inputs.base.id})
    spec = InterventionVariant(identity, inputs.model, entry.kind, tuple(settings.items()))
    return TranslateTest(spec=spec, name=entry.name or entry.kind, system=entry.system or "", sources=sources)
