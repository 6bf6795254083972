"""Deep check of a store: whether results follow from the files and records that they were computed from.

Metrics are computed again from predictions, masks from statistics and the base model's weights, and comparisons,
answers and the other kinds of `RECHECKED_KINDS` from what they name. No model is run.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from catalog.check import Damage
from catalog.ingest.record_rows import RECIPES, row_problems
from mlprune import errors
from mlprune.counted import counted
from mlprune.steps.inputs import find_base_model
from mlprune.steps.questions.declaring_records import declaration_problems
from mlprune.steps.rescore import verify
from mlprune.steps.rescore.stored_jobs import WITH_WEIGHTS
from mlprune.store.records import Record
from mlprune.store.store import Store

MOST_NAMED = 5
"""Number of records that are named of those that cannot be computed again for one reason."""


def examination(other: Store) -> Callable[[Store, Record], Iterable[str]]:
    """Return the function that finds out what is wrong with a record of a store that is merged into another one."""
    recheck = verify.Recheck(other, _no_model)

    def examine(_: Store, record: Record) -> Iterator[str]:
        """Yield foreign or duplicated rows, and values that contradict the files and records they follow from.

        A merge reads no weights of base models, so what follows from them is not computed again.
        """
        yield from row_problems(record)
        if record.kind == RECIPES:
            yield from declaration_problems(record)
        if record.kind in WITH_WEIGHTS:
            return
        try:
            yield from recheck.contradictions(record)
        except errors.RetiredArtefactError:
            return
        except errors.StoreError as err:
            yield f"it cannot be computed again: {err}"

    return examine


def _no_model(base_model_id: str) -> Path:
    raise errors.BadInputError("a merge reads no weights", base_model_id=base_model_id)


def deep_check(
    store: Store, *, sample: int | None = None, seed: int = 0, kinds: Sequence[str] = verify.RECHECKED_KINDS
) -> tuple[list[Damage], list[str]]:
    """Compute results again, and compare them with their records.

    Args:
        sample: how many records, drawn at random; None for all.
        seed: of the draw.
        kinds: of `RECHECKED_KINDS`. To rebuild the masks of `variants`, the base model has to be where a run of this
            store used it.
    Returns: damages, and notes on what was not checked. Damaged files are the subject of `catalog.check.check`.
    """
    names = sorted(name for kind in kinds for name in store.record_names(kind))
    if sample is not None and sample < len(names):
        names = sorted(random.Random(seed).sample(names, sample))  # noqa: S311 - no secret
    damages: list[Damage] = []
    unchecked: dict[str, list[str]] = {}
    earlier: Counter[str] = Counter()
    models = _Models(store)
    recheck = verify.Recheck(store, models.folder)
    for name in names:
        record = store.read_record(*name)
        if record is None:
            continue
        if not verify.is_rechecked(record):
            earlier[record.kind] += 1
            continue
        try:
            problems = recheck.contradictions(record)
            if not problems and verify.has_masks_to_rebuild(record):
                difference = verify.rebuilt_masks_differ(store, record, models.folder(record.parent("base_model")))
                problems = [] if difference is None else [difference]
        except (errors.BadInputError, errors.DamagedArtefactError, errors.ModelError, errors.StoreError) as err:
            unchecked.setdefault(str(err), []).append(record.path)
        else:
            damages += [Damage(problem, record.path, is_wrong_content=True) for problem in problems]
    return damages, [*_unchecked_notes(unchecked), *_kind_notes(store, earlier, kinds)]


def _unchecked_notes(unchecked: dict[str, list[str]]) -> Iterator[str]:
    """Yield the records that cannot be computed again, a line for each reason."""
    for reason, paths in unchecked.items():
        others = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
        yield f"{', '.join(paths[:MOST_NAMED])}{others}: not computed again: {reason}"


def _kind_notes(store: Store, earlier: Counter[str], kinds: Sequence[str]) -> Iterator[str]:
    """Yield the kinds of records in a store that are not computed again, and the records of earlier versions."""
    for kind, n_records in sorted(earlier.items()):
        yield f"{counted(n_records, 'record')} of {kind} of an earlier version: not computed again"
    others = sorted({kind for kind, _ in store.record_names()} - set(kinds))
    if others:
        yield f"kinds that are not computed again: {', '.join(others)}"


class _Models:
    """Folders of base models, each searched for once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folders: dict[str, Path | errors.BadInputError] = {}

    def folder(self, base_model_id: str) -> Path:
        """Return the folder of a base model.

        Raises:
            BadInputError: it is not where a run of this store used it.
        """
        if base_model_id not in self._folders:
            try:
                self._folders[base_model_id] = find_base_model(self._store, base_model_id)
            except errors.BadInputError as err:
                self._folders[base_model_id] = err
        folder = self._folders[base_model_id]
        if isinstance(folder, errors.BadInputError):
            raise folder
        return folder
