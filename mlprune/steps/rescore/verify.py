"""Compute stored results again, without running the model: keep masks and metrics.

Rebuild the keep masks of a variant from the store, without running the model, and compare them.

The masks are rebuilt from the base model's weights and the stored statistics; those of a combination, from the masks of
its parents. A quantised variant has the masks of its parent. Variants with changed weights cannot be rebuilt, and
neither can those of a sweep that reads more than sums of squares, because the sweep does not store it.

Recheck of stored results: compute again what follows from predictions, masks and statistics, without the model.

Metrics follow from predictions, and masks from statistics. Results with a `RecordKind.job` are made again by this job:
it reads the store and writes into memory, and what it writes is compared with the store.

Numbers that another processor computed may differ in their last digits.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np

from mlprune.errors import BadInputError, DamagedArtefactError, PermanentError, StoreError
from mlprune.json_values import JsonObject, JsonValue, as_float, as_int, as_str
from mlprune.models.checkpoint.weight_files import architecture_at, block_on_disk
from mlprune.models.loading import ModelInfo
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.block_inputs import BlockInputs
from mlprune.pruning.block_pruning import pruned_block
from mlprune.pruning.mask_files import fingerprint, read_keep_masks
from mlprune.pruning.scoring import BlockLevels
from mlprune.pruning.spec import ScoreSpec
from mlprune.steps.compare.overlaps import read_magnitudes
from mlprune.steps.evaluate.results import evaluation_rows, read_predictions, stated_n_longer
from mlprune.steps.inputs import require_base_model
from mlprune.steps.job import Identity, ModelRef
from mlprune.steps.observe.statistics import largest_features
from mlprune.steps.observe.statistics_files import read_block_statistics
from mlprune.steps.prune.combine import combined_block
from mlprune.steps.prune.ordering import Ordering, order_block, sparsities_of
from mlprune.steps.prune.structure_variants import variants_of_structure
from mlprune.steps.prune.sweep import roles, swept_factors
from mlprune.steps.rescore.stored_jobs import FindModel, StoredJobs, evaluation_spec
from mlprune.steps.variants.scored_variant import ScoredVariant, refinement_of, scored_variant
from mlprune.steps.variants.variant import ALL_TOKENS, ROLES_OF_PARENT, CombinedVariant
from mlprune.steps.variants.variant_rows import form_without_masks, require_masks, stored_masks
from mlprune.store.parquet import columns_of
from mlprune.store.record_kinds import NOT_REBUILT, RECORD_KINDS
from mlprune.store.records import Artefact, Record, RecordKey
from mlprune.store.store import Store
from mlprune.vocabulary import CombinationName, DtypeName

TOLERANCE = 1e-9
"""Relative difference up to which metrics of two machines count as equal."""
STATISTICS_TOLERANCE = 1e-6
"""The same for results that are computed in longer chains, such as intervals of resamples."""
MOST_DIFFERENCES = 3
"""Number of differences of one record that are named; the others are counted."""
Tables = Mapping[str, Sequence[JsonObject]]
"""Table -> rows."""


@dataclass(frozen=True)
class Verification:
    """Result of rebuilding a variant."""

    variant_id: str
    expected: str
    """Fingerprint in the variant's record."""
    rebuilt: str
    """Fingerprint of the rebuilt masks."""

    @property
    def is_equal(self) -> bool:
        """Whether all masks are equal."""
        return self.expected == self.rebuilt


def verify_variant(store: Store, record: Record, model_path: Path) -> Verification:
    """Rebuild a variant block by block and compare fingerprints.

    Args:
        record: of a variant.
        model_path: folder of its base model.
    Raises:
        BadInputError: the variant has no masks, its weights changed, its statistics are not stored, or the folder holds
            another model.
        DamagedArtefactError: a statistics or mask file is missing or damaged.
    """
    row = record.rows["variants"][0]
    for role in ROLES_OF_PARENT:
        if role in record.parents and row["mask_sha256"] is not None:
            parent = verify_variant(store, store.require("variants", record.parent(role)), model_path)
            return Verification(record.id, as_str(row["mask_sha256"]), parent.rebuilt)
    if row["mask_sha256"] is None or row["weights_changed"]:
        got = "changed weights" if row["mask_sha256"] is not None else form_without_masks(record)
        raise BadInputError("only masks can be rebuilt", variant_id=record.id, expected="a masked variant", got=got)
    for parameter, (message, step) in NOT_REBUILT.items():
        if parameter in record.parameters:
            raise BadInputError(message, variant_id=record.id, next=step)
    if reads_unstored_statistics(record):
        expected = "a variant of dense propagation, or of a method that reads sums of squares"
        raise BadInputError("the statistics of the masks are not stored", variant_id=record.id, expected=expected)
    info = require_base_model(model_path, record.parent("base_model"))
    blocks = parallel_map(_rebuilder(store, record, info), range(info.n_blocks))
    keeps = [
        (block, layer, levels.keep_sha256[0]) for block, layers in enumerate(blocks) for layer, levels in layers.items()
    ]
    return Verification(record.id, as_str(row["mask_sha256"]), fingerprint(keeps))


def reads_unstored_statistics(record: Record) -> bool:
    """Whether the masks of a variant were made from statistics that its sweep did not store."""
    parameters = record.parameters
    if parameters.get("propagation") != "sequential":
        return False
    score, refinement = ScoreSpec.from_parameters(parameters), refinement_of(parameters)
    return not {*score.method.needs, *(refinement.method.needs if refinement else ())} <= {"squares"}


def _rebuilder(store: Store, record: Record, info: ModelInfo) -> Callable[[int], BlockLevels]:
    """Return the function that makes the levels of a block again."""
    values, parents = record.parameters, record.parents
    model = ModelRef(
        record.parent("base_model"),
        str(info.path),
        info.family,
        info.n_blocks,
        None,
        cast("DtypeName", values.get("dtype", "float32")),
    )
    identity = Identity.of_record(record)
    if "combination" in values:
        sparsity = as_float(record.rows["variants"][0]["sparsity"])
        combined = CombinedVariant(
            identity, model, sparsity, cast("CombinationName", values["combination"]), tuple(parents["variants"])
        )
        masks = [require_masks(store, parent) for parent in combined.parent_ids]
        return lambda block: combined_block(store, masks, block, variant=combined)
    stored = stored_masks(store, record)
    if stored is None:
        raise BadInputError("only masks can be rebuilt", variant_id=record.id, expected="a masked variant")
    structure = record.rows["variants"][0]["structure"]
    if of_structure := variants_of_structure(structure, values.get("structure_plugin")):
        return of_structure.rebuilder(store, identity, model, ordering=stored.record)
    variant = scored_variant(identity, model)
    ordering = Ordering.of_record(stored.record, variant)
    calibration = variant.calibration
    if calibration is None or calibration.propagation != "sequential":
        return lambda block: order_block(store, model, block, ordering).levels
    return lambda block: _swept_block(store, stored.record, block, ordering=ordering, variant=variant)


def _swept_block(
    store: Store, record: Record, block: int, *, ordering: Ordering, variant: ScoredVariant
) -> BlockLevels:
    """Return the levels of a block of a sweep, from the statistics that the sweep stored."""
    if variant.calibration is None:
        raise BadInputError("a sweep reads demonstrations", variant_id=variant.id)
    statistics = {
        role: read_block_statistics(store, record.artefacts, block, role=role) for role in roles(variant.calibration)
    }
    architecture = architecture_at(variant.model.path).block(block)
    return pruned_block(
        block_on_disk(Path(variant.model.path), block, dtype=variant.model.dtype),
        ordering.method,
        sparsities=sparsities_of(store, architecture, block, ordering),
        inputs=BlockInputs(swept_factors(variant.calibration, statistics)),
        block=block,
        architecture=architecture,
    ).levels


class Recheck:
    """Computes results of one store again.

    Args:
        find_model: finds the base models whose weights some results follow from; see `find_base_model` for its error.
    """

    def __init__(self, store: Store, find_model: FindModel) -> None:
        self._store = store
        self._scratch = ScratchStore(store)
        self._jobs = StoredJobs(self._scratch, find_model)

    def contradictions(self, record: Record) -> list[str]:
        """Return how a record contradicts the files and records that it follows from; empty for other kinds.

        Raises:
            StoreError: it cannot be computed again here: a record or the base model is missing, or a file was retired.
            DamagedArtefactError: a file that it follows from is missing or damaged.
        """
        if not is_rechecked(record):
            return []
        try:
            return list(_shortened(RECHECKS.get(record.kind, Recheck._of_job)(self, record)))
        except (StoreError, DamagedArtefactError):
            raise
        except (PermanentError, ArithmeticError, ValueError, LookupError, TypeError, AttributeError) as err:
            return [_does_not_follow(err)]
        except RuntimeError as err:
            if not isinstance(err.__cause__, StopIteration):  # a `next` that finds nothing, in a generator
                raise
            return [_does_not_follow(err.__cause__)]

    def _of_evaluation(self, record: Record) -> Iterator[str]:
        """Compare the metrics of an evaluation with its predictions."""
        evaluation = evaluation_spec(record)
        (artefact,) = record.artefacts
        predictions = read_predictions(self._store, evaluation.task, artefact)
        expected = evaluation_rows(
            evaluation, record.parent("variant"), predictions=predictions, n_longer=stated_n_longer(record)
        )
        yield from _table_differences(expected, record.rows, tolerance=TOLERANCE)

    def _of_variant(self, record: Record) -> Iterator[str]:
        """Compare the numbers of removed weights of a variant with its masks."""
        stored = stored_masks(self._store, record)
        if stored is None or not record.rows.get("variant_layers"):
            return
        removed: dict[tuple[JsonValue, JsonValue], int] = {}
        for block, (artefact, levels) in enumerate(stored.files):
            for layer, keep in read_keep_masks(self._store.uri, artefact, levels).items():
                removed[block, layer] = int((~keep).sum())
        layers = record.rows["variant_layers"]
        named = {(row["block"], row["layer"]) for row in layers}
        if len(named) != len(layers) or not removed.keys() <= named:
            yield "variant_layers: its layers are not those of its masks"
        expected = [{**row, "n_removed": removed.get((row["block"], row["layer"]), 0)} for row in layers]
        achieved = sum(removed.values()) / sum(as_int(row["n_weights"]) for row in layers)
        rows = {
            "variant_layers": expected,
            "variants": [{**row, "achieved_sparsity": achieved} for row in record.rows["variants"]],
        }
        yield from _table_differences(rows, {name: record.rows[name] for name in rows}, tolerance=TOLERANCE)

    def _of_statistics(self, record: Record) -> Iterator[str]:
        """Compare the largest features of a set with the file of all features."""
        rows = record.rows["feature_magnitudes"]
        keys = {name: rows[0][name] for name in ("statistics_id", "base_model_id", "demonstration_set_id")}
        expected = largest_features(read_magnitudes(self._store, record), keys)
        yield from _row_differences("feature_magnitudes", expected, rows, tolerance=TOLERANCE)

    def _of_job(self, record: Record) -> Iterator[str]:
        """Run the job of a record again, and compare what it writes."""
        job = self._jobs.job_of(record)
        if job.makes[-1] != (record.kind, record.id):
            yield "its id does not follow from the results that it names"
            return
        with self._scratch:
            job.run(self._scratch, _no_chain)
            made = self._scratch.made[record.kind, record.id]
            yield from _table_differences(made.rows, record.rows, tolerance=STATISTICS_TOLERANCE)
            yield from self._file_differences(made.artefacts, record.artefacts)

    def _file_differences(self, expected: Sequence[Artefact], actual: Sequence[Artefact]) -> Iterator[str]:
        """Compare the tables that were computed again with those of the store."""
        if [artefact.path for artefact in expected] != [artefact.path for artefact in actual]:
            yield "it names other files than those that follow from its inputs"
            return
        for made, stored in zip(expected, actual, strict=True):
            if made.sha256 == stored.sha256:
                continue
            columns, wanted = self._store.read_table(stored), columns_of(self._scratch.written[made.path])
            if not _are_equal(_plain(wanted), _plain(columns), tolerance=STATISTICS_TOLERANCE):
                yield f"{stored.path} differs from the file that follows from its inputs"


RECHECKS: Mapping[str, Callable[[Recheck, Record], Iterator[str]]] = {
    "evaluations": Recheck._of_evaluation,
    "variants": Recheck._of_variant,
    "statistics": Recheck._of_statistics,
}
"""Kinds that are compared with their own files -> how."""
RECHECKED_KINDS = tuple(kind for kind, described in RECORD_KINDS.items() if kind in RECHECKS or described.job)
"""Kinds of records that are computed again, parents first."""


def is_rechecked(record: Record) -> bool:
    """Whether a record is of a kind and version that is computed again."""
    return record.kind in RECHECKED_KINDS and record.step_version == RECORD_KINDS[record.kind].version


class ScratchStore(Store):
    """Reads from a store, and keeps in memory what is written; as a context manager, it forgets that at the end."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.uri)
        self.written: dict[str, bytes] = {}
        """Path -> content."""
        self.made: dict[RecordKey, Record] = {}
        """(kind, id) -> record."""

    def __enter__(self) -> "ScratchStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.written.clear()
        self.made.clear()

    def write(self, path: str, data: bytes) -> None:
        """Keep a file."""
        self.written[path] = data

    def write_record(self, record: Record) -> None:
        """Keep a record."""
        self.made[record.kind, record.id] = record


def _no_chain() -> NoReturn:
    raise AssertionError("a recheck runs no model")


def _does_not_follow(err: BaseException) -> str:
    return f"it does not follow from its inputs: {type(err).__name__}: {err}".rstrip(": ")


def _shortened(problems: Iterator[str]) -> Iterator[str]:
    """Yield the first problems of a record, and the number of the others."""
    yield from islice(problems, MOST_DIFFERENCES)
    if n_more := sum(1 for _ in problems):
        yield f"and {n_more} more differences"


def _table_differences(expected: Tables, actual: Tables, *, tolerance: float) -> Iterator[str]:
    for table in sorted({*expected, *actual}):
        yield from _row_differences(table, expected.get(table, ()), actual.get(table, ()), tolerance=tolerance)


def _row_differences(
    table: str, expected: Sequence[JsonObject], actual: Sequence[JsonObject], *, tolerance: float
) -> Iterator[str]:
    if len(expected) != len(actual):
        yield f"{table}: {len(expected)} rows follow from its inputs, but it has {len(actual)}"
        return
    for wanted, row in zip(expected, actual, strict=True):
        if wanted.get("signature") != row.get("signature"):  # another version of sacreBLEU
            continue
        for column in sorted({*wanted, *row}):
            if not _are_equal(wanted.get(column), row.get(column), tolerance=tolerance):
                name = " ".join(str(part) for part in (table, wanted.get("metric")) if part)
                yield f"{name}: {column} is {row.get(column)}, but {wanted.get(column)} follows from its inputs"


def _are_equal(expected: Any, actual: Any, *, tolerance: float) -> bool:
    if isinstance(expected, float) and isinstance(actual, int | float):
        both_nan = math.isnan(expected) and math.isnan(actual)
        return both_nan or math.isclose(expected, actual, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        pairs: Iterable[tuple[Any, Any]] = ((expected[key], actual[key]) for key in expected.keys() & actual.keys())
        is_same_shape = expected.keys() == actual.keys()
    elif isinstance(expected, list) and isinstance(actual, list):
        pairs, is_same_shape = zip(expected, actual, strict=False), len(expected) == len(actual)
    else:
        return type(expected) is type(actual) and bool(expected == actual)
    return is_same_shape and all(_are_equal(*pair, tolerance=tolerance) for pair in pairs)


def _plain(columns: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the columns of a table as plain lists."""
    return {name: np.asarray(values).tolist() for name, values in columns.items()}


def has_masks_to_rebuild(record: Record) -> bool:
    """Whether the masks of a variant can be rebuilt without running the model."""
    rows = record.rows.get("variants", ())
    is_current = record.kind == "variants" and record.step_version == RECORD_KINDS["variants"].version
    if not is_current or len(rows) != 1 or rows[0].get("mask_sha256") is None or rows[0]["weights_changed"]:
        return False
    if ALL_TOKENS in record.parents:  # the masks of a parent are rebuilt with it
        return False
    return not (NOT_REBUILT.keys() & record.parameters.keys() or reads_unstored_statistics(record))


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
