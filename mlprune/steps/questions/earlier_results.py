"""Stored evaluations that share items with those of a question: an item is known by its texts, not by its names."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from mlprune.errors import DamagedArtefactError, RetiredArtefactError
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.task_files import Item
from mlprune.json_values import JsonObject
from mlprune.steps.tasks import stored_items
from mlprune.steps.tasks.evaluation import EvaluationSpec, task_data
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.store import Store
from mlprune.store.unsound_records import unsound_records

KIND: Final = "evaluations"
SHARED_TEXTS = 0.1
"""Share of a question's items whose texts have to be among those of other items: two splits may repeat a sentence."""
FEWEST_WORDS = 2
"""Fewest words by which an item is known."""
_WORD = re.compile(r"\w+")


class ItemKeys(NamedTuple):
    """What the items of one task, language and split are known by."""

    names: frozenset[tuple[str, str]]
    """(id, right answer) of each item, for evaluations of the same task and language."""
    texts: tuple[frozenset[str], ...]
    """Per item: its text with the right answer; and its words without those of all items, which templates add."""

    @property
    def ids(self) -> frozenset[str]:
        """The ids."""
        return frozenset(name for name, _ in self.names)

    def shares_texts_with(self, other: "ItemKeys") -> bool:
        """Whether the texts of enough of the items are those of other items."""
        known = frozenset().union(*other.texts)
        n_shared = sum(not texts.isdisjoint(known) for texts in self.texts)
        return n_shared > 0 and n_shared >= SHARED_TEXTS * len(self.texts)


def item_keys(items: Iterable[tuple[str, str, str]]) -> ItemKeys:
    """Return the keys of items, each given by its id, its right answer and its text with the right answer."""
    rows = list(items)
    words = [_WORD.findall(unicodedata.normalize("NFKC", text).casefold()) for _, _, text in rows]
    common = frozenset.intersection(*map(frozenset, words)) if len(rows) > 1 else frozenset()
    texts = []
    for (_, _, text), of_item in zip(rows, words, strict=True):
        own = sorted(word for word in of_item if word not in common)
        texts.append(frozenset({" ".join(text.split()), *([" \n".join(own)] if len(own) >= FEWEST_WORDS else [])}))
    return ItemKeys(frozenset((name, answer) for name, answer, _ in rows), tuple(texts))


def _row_of(item: Item) -> tuple[str, str, str]:
    if isinstance(item, ChoiceItem):
        return item.example_id, item.candidates[item.gold], item.texts[item.gold]
    return item.example_id, item.reference, f"{item.source} {item.reference}"


class StoredEvaluation(NamedTuple):
    """What is known of a stored evaluation without its predictions."""

    evaluation_id: str
    variant_id: str
    task: str
    language: str
    split: str
    items_id: str | None
    """None in records of earlier versions."""


def _stored_evaluation(
    record_id: str, parameters: JsonObject, parents: Mapping[str, object], rows: Sequence[JsonObject]
) -> StoredEvaluation:
    task, language, split = (str(parameters.get(name, "")) for name in ("task", "language", "split"))
    items_id = next((row.get("items_id") for row in rows), None)
    known_items = items_id if isinstance(items_id, str) else None
    return StoredEvaluation(record_id, str(parents.get("variant", "")), task, language, split, known_items)


class StoredEvaluations:
    """The evaluations of a store, also those of damaged and quarantined records.

    Records and items are read once, and only if they are needed.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stored_keys: dict[str, ItemKeys | None] = {}
        self._planned_keys: dict[TaskSpec, ItemKeys] = {}
        self._shared: dict[tuple[str, str, str, TaskSpec], bool] = {}
        self._sharing: dict[tuple[TaskSpec, ...], list[StoredEvaluation]] = {}

    def sharing(self, evaluations: Sequence[EvaluationSpec]) -> list[StoredEvaluation]:
        """Return the stored evaluations of all variants that share an item with one of these, in the order of ids."""
        tasks = tuple(evaluation.task for evaluation in evaluations)
        if tasks not in self._sharing:
            self._sharing[tasks] = [
                stored for stored in self._evaluations if any(self._share_an_item(stored, task) for task in tasks)
            ]
        return self._sharing[tasks]

    def other_languages(self, variant_ids: Iterable[str], evaluations: Sequence[EvaluationSpec]) -> list[str]:
        """Return the other languages in which some variants were evaluated on items with the same ids, sorted."""
        variants, tasks = frozenset(variant_ids), [evaluation.task for evaluation in evaluations]
        own = {task.language for task in tasks}
        return sorted(
            {
                stored.language
                for stored in self._evaluations
                if stored.variant_id in variants and stored.language not in own and self._have_ids(stored, tasks)
            }
        )

    def _have_ids(self, stored: StoredEvaluation, tasks: Sequence[TaskSpec]) -> bool:
        keys = self._keys_of_stored(stored.items_id)
        of_task = [task for task in tasks if task.task == stored.task]
        return keys is not None and any(not keys.ids.isdisjoint(self._keys_of_task(task).ids) for task in of_task)

    @cached_property
    def _evaluations(self) -> list[StoredEvaluation]:
        found = []
        for record in self._store.each_record(self._store.record_ids(KIND)):
            rows = record.rows.get("evaluations", ())
            found.append(_stored_evaluation(record.id, record.parameters, record.parents, rows))
        sound = {each.evaluation_id for each in found}
        for unsound in unsound_records(self._store, KIND, sound=sound):
            values = (unsound.values("parameters"), unsound.values("parents"), unsound.rows("evaluations"))
            found.append(_stored_evaluation(unsound.id, *values))
        return sorted({each.evaluation_id: each for each in found}.values())

    def _share_an_item(self, stored: StoredEvaluation, task: TaskSpec) -> bool:
        """Whether two evaluations share an item; if one has lost its items, whether they have the same split."""
        is_same_task = (stored.task, stored.language) == (task.task, task.language)
        keys = self._keys_of_stored(stored.items_id)
        if keys is None or stored.items_id is None:
            return is_same_task and stored.split == task.split
        known = (stored.items_id, stored.task, stored.language, task)
        if known not in self._shared:
            planned = self._keys_of_task(task)
            has_name = is_same_task and not keys.names.isdisjoint(planned.names)
            self._shared[known] = has_name or planned.shares_texts_with(keys)
        return self._shared[known]

    def _keys_of_task(self, task: TaskSpec) -> ItemKeys:
        if task not in self._planned_keys:
            self._planned_keys[task] = item_keys(map(_row_of, task_data(task).items))
        return self._planned_keys[task]

    def _keys_of_stored(self, items_id: str | None) -> ItemKeys | None:
        if items_id is None:
            return None
        if items_id not in self._stored_keys:
            self._stored_keys[items_id] = self._read_keys(items_id)
        return self._stored_keys[items_id]

    def _read_keys(self, items_id: str) -> ItemKeys | None:
        record = self._store.read_record(stored_items.KIND, items_id)
        if record is None or not record.artefacts:
            return None
        try:
            columns = self._store.read_table(record.artefacts[0])
        except (DamagedArtefactError, RetiredArtefactError):
            return None
        if "reference" in columns:
            rows = zip(columns["example_id"], columns["reference"], columns["source"], strict=True)
            return item_keys((str(name), str(answer), f"{source} {answer}") for name, answer, source in rows)
        choices = zip(columns["example_id"], columns["candidate"], columns["text"], columns["is_gold"], strict=True)
        return item_keys((str(name), str(answer), str(text)) for name, answer, text, is_gold in choices if is_gold)
