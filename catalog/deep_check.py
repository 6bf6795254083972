"""Deep check of a store: whether results follow from the files that they were computed from.

Metrics are computed again from predictions, and masks from statistics and the base model's weights. No model is run.
"""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from catalog.check import Damage
from catalog.ingest.record_rows import row_problems
from mlprune.errors import BadInputError, DamagedArtefactError, ModelError, StoreError
from mlprune.steps.base_model import find_base_model
from mlprune.steps.recheck import contradictions, has_masks_to_rebuild, rebuilt_masks_differ
from mlprune.store.records import Record
from mlprune.store.store import Store


def examine(store: Store, record: Record) -> Iterator[str]:
    """Yield what is wrong with a record that can be read: foreign or duplicated rows, values that contradict its files.

    Raises:
        DamagedArtefactError: a file that it was computed from is missing or damaged.
    """
    yield from row_problems(record)
    yield from contradictions(store, record)


def deep_check(
    store: Store, *, sample: int | None = None, seed: int = 0, with_masks: bool = True
) -> tuple[list[Damage], list[str]]:
    """Compute the results of evaluations and variants again, and compare them with their records.

    Args:
        sample: how many evaluations and variants, drawn at random; None for all.
        seed: of the draw.
        with_masks: rebuild masks, for which the base model has to be where a run of this store used it.
    Returns: damages, and notes on what could not be checked. Damaged files are the subject of `catalog.check.check`.
    """
    kinds = ("evaluations", "variants") if with_masks else ("evaluations",)
    names = sorted(name for kind in kinds for name in store.record_names(kind))
    if sample is not None and sample < len(names):
        names = sorted(random.Random(seed).sample(names, sample))  # noqa: S311 - no secret
    damages: list[Damage] = []
    notes: list[str] = []
    models = _Models(store)
    for name in names:
        record = store.read_record(*name)
        if record is None:
            continue
        try:
            damages += [_damage(record, problem) for problem in _problems(store, record, models)]
        except (BadInputError, DamagedArtefactError, ModelError, StoreError) as err:
            notes.append(f"{record.path}: not computed again: {err}")
    return damages, notes


def _damage(record: Record, problem: str) -> Damage:
    return Damage(problem, record.path, is_wrong_content=True)


def _problems(store: Store, record: Record, models: "_Models") -> Iterable[str]:
    if record.kind == "evaluations":
        return list(contradictions(store, record))
    if not has_masks_to_rebuild(record):
        return []
    difference = rebuilt_masks_differ(store, record, models.folder(record.parent("base_model")))
    return [] if difference is None else [difference]


class _Models:
    """Folders of base models, each searched for once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folders: dict[str, Path | BadInputError] = {}

    def folder(self, base_model_id: str) -> Path:
        """Return the folder of a base model.

        Raises:
            BadInputError: it is not where a run of this store used it.
        """
        if base_model_id not in self._folders:
            try:
                self._folders[base_model_id] = find_base_model(self._store, base_model_id)
            except BadInputError as err:
                self._folders[base_model_id] = err
        folder = self._folders[base_model_id]
        if isinstance(folder, BadInputError):
            raise folder
        return folder
