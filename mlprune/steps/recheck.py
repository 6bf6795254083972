"""Recheck of stored results: compute metrics again from predictions, and masks again from statistics.

No model is run. Numbers that another machine computed may differ in their last digits.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlprune.errors import DamagedArtefactError, PermanentError
from mlprune.json_values import JsonObject, JsonValue
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.results import evaluation_rows, read_predictions, stated_n_longer
from mlprune.steps.evaluate.task_spec import task_spec
from mlprune.steps.job import Identity
from mlprune.steps.prune.verify import reads_unstored_statistics, verify_variant
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
from mlprune.store.store import Store

TOLERANCE = 1e-9
"""Relative difference up to which numbers of two machines count as equal."""


def contradictions(store: Store, record: Record) -> Iterator[str]:
    """Yield how the rows of an evaluation contradict its own predictions; nothing for records of other kinds.

    Raises:
        DamagedArtefactError: the predictions are missing or damaged.
    """
    if record.kind != "evaluations" or record.step_version != RECORD_KINDS[record.kind].version:
        return
    try:
        expected = _rows_of_predictions(store, record)
    except DamagedArtefactError:
        raise
    except (PermanentError, ValueError, KeyError, IndexError, TypeError) as err:
        yield f"its metrics cannot be computed from its predictions: {err}"
        return
    for table in sorted({*expected, *record.rows}):
        yield from _row_differences(table, expected.get(table, ()), record.rows.get(table, ()))


def _rows_of_predictions(store: Store, record: Record) -> dict[str, list[dict[str, JsonValue]]]:
    spec = task_spec(record.parameters)
    (artefact,) = record.artefacts
    identity = Identity(record.kind, record.parameters, record.parents, record.contents)
    predictions = read_predictions(store, spec, artefact)
    evaluation, variant_id = EvaluationSpec(identity, spec), record.parent("variant")
    return evaluation_rows(evaluation, variant_id, predictions=predictions, n_longer=stated_n_longer(record))


def _row_differences(table: str, expected: Sequence[JsonObject], actual: Sequence[JsonObject]) -> Iterator[str]:
    if len(expected) != len(actual):
        yield f"{table}: {len(expected)} rows follow from its predictions, but it has {len(actual)}"
        return
    for wanted, row in zip(expected, actual, strict=True):
        if wanted.get("signature") != row.get("signature"):  # another version of sacreBLEU
            continue
        for column in sorted({*wanted, *row}):
            if not _are_equal(wanted.get(column), row.get(column)):
                name = f"{table} {wanted.get('metric', '')}".rstrip()
                yield f"{name}: {column} is {row.get(column)}, but {wanted.get(column)} follows from its predictions"


def _are_equal(expected: JsonValue, actual: JsonValue) -> bool:
    if isinstance(expected, float) and isinstance(actual, int | float):
        return math.isclose(expected, actual, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(expected) is type(actual) and expected == actual


def has_masks_to_rebuild(record: Record) -> bool:
    """Whether the masks of a variant can be rebuilt without running the model."""
    rows = record.rows.get("variants", ())
    is_current = record.kind == "variants" and record.step_version == RECORD_KINDS["variants"].version
    if not is_current or len(rows) != 1 or rows[0].get("mask_sha256") is None or rows[0]["weights_changed"]:
        return False
    return not reads_unstored_statistics(record)


def rebuilt_masks_differ(store: Store, record: Record, model: Path) -> str | None:
    """Rebuild the masks of a variant from the stored statistics; return how they differ, or None.

    Args:
        model: folder of its base model.
    Raises:
        BadInputError: the folder holds another model.
        DamagedArtefactError: a file of statistics or masks is missing or damaged.
    """
    result = verify_variant(store, record, model)
    if result.is_equal:
        return None
    return f"its masks are {result.expected}, but {result.rebuilt} follow from its statistics"
