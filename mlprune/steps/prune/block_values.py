"""Values of blocks that a schedule reads: wanda scores, outlier ratios and weight spectra.

Plan the values of blocks that a schedule reads.

A further schedule of this kind is an entry in `SCHEDULES`, a job here, and an entry in `PLANNERS`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, cast

from torch import Tensor

from mlprune.errors import RecipeError, StatisticsError
from mlprune.json_values import JsonObject, as_float, as_int, as_str
from mlprune.methods import AlphaPruningParameters, DlpParameters, OwlParameters, StatisticName, checked_parameters
from mlprune.models.checkpoint.weight_files import architecture_at, read_block
from mlprune.models.placement.memory_estimate import STATE_BYTES, Footprint
from mlprune.numeric.allocation import CUTOFFS, CutoffName, block_score, layer_tail, outlier_ratio, spectrum
from mlprune.numeric.weights.scores import wanda_scores
from mlprune.processes.job_parts import finished_parts
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.block_inputs import factors_of
from mlprune.pruning.schedules import BlockValue
from mlprune.pruning.spec import ScheduleSpec, StatisticsSelection
from mlprune.steps import job
from mlprune.steps.declared_job import BaseModel, DeclaredJob, Parameter, Parameters, Parent, StoredWork
from mlprune.steps.observe.statistics_files import read_block_totals
from mlprune.store.records import Record
from mlprune.store.store import Store

SCORE, EXPONENT = "_score", "_exponent"
"""Ends of the names of values: after the statistic of the scores, and after the cut-off of the spectra."""


def value_rows(record_id: str, values: Sequence[BlockValue], *, base_model_id: str, name: str) -> list[JsonObject]:
    """Return one row per block.

    Args:
        values: of all blocks, in order.
        name: of the values, such as `mean_score`.
    """
    return [
        {
            "block_values_id": record_id,
            "base_model_id": base_model_id,
            "name": name,
            "block": block,
            "value": one.value,
            "n_weights": one.n_weights,
        }
        for block, one in enumerate(values)
    ]


@lru_cache(maxsize=64)
def _values(store_uri: str, record_id: str) -> tuple[BlockValue, ...]:
    rows = Store(store_uri).require("block_values", record_id).rows["block_values"]
    return tuple(BlockValue(as_float(row["value"]), as_int(row["n_weights"])) for row in rows)


@dataclass(frozen=True)
class DenseScores:
    """The statistics from which the scores are computed."""

    model: job.ModelRef
    selection: StatisticsSelection
    statistics: tuple[str, ...]
    """Ids of the statistics of the demonstration sets."""


@dataclass(frozen=True)
class DenseScoresJob(DeclaredJob):
    """Base of the jobs that compute a value of every block from the scores."""

    step: ClassVar[str] = "prune"
    model: Annotated[job.ModelRef, BaseModel()]
    selection: Annotated[StatisticsSelection, Parameters(StatisticsSelection.from_parameters)]
    statistics: Annotated[tuple[str, ...], Parent("statistics", "statistics")]
    """Ids of the statistics of the demonstration sets."""

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """All blocks, one per thread."""
        return job.JobCost.per_block(self.step, sizes, sizes.itemsize + STATE_BYTES)

    def scores(self, store: Store, block: int) -> Iterator[Tensor]:
        """Yield the scores of each layer of a block, [out, in] float32."""
        architecture = architecture_at(self.model.path).block(block)
        records = [store.require("statistics", statistics_id) for statistics_id in self.statistics]
        sets = [read_block_totals(store, record.artefacts, block, selection=self.selection) for record in records]
        factors = factors_of(sets, selection=self.selection)
        weights = read_block(Path(self.model.path), block, dtype=self.model.dtype)
        for layer, weight in weights.items():
            yield wanda_scores(weight, factors[architecture.input_of(layer)][0])


@dataclass(frozen=True)
class BlockScoresJob(DenseScoresJob):
    """Compute the mean or median score of every block from stored statistics (Chen et al., arXiv:2505.23807)."""

    kind: ClassVar[str] = "block_values"
    name: Annotated[str, Parameter()]
    """Of the values, such as `mean_score`."""

    @property
    def statistic(self) -> StatisticName:
        """The statistic of the scores."""
        return cast("StatisticName", self.name.removesuffix(SCORE))

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Score the blocks. The weights of a block are in memory only while it is scored."""
        n_blocks = self.model.n_blocks
        scored = parallel_map(lambda block: self._value(store, block), range(n_blocks))
        values = tuple(finished_parts("block", n_blocks, scored))
        rows = value_rows(self.identity.id, values, base_model_id=self.model.base_model_id, name=self.name)
        store.write_record(self.identity.record(rows={"block_values": rows}))

    def _value(self, store: Store, block: int) -> BlockValue:
        scores = tuple(self.scores(store, block))
        return BlockValue(block_score(scores, self.statistic), sum(layer.numel() for layer in scores))


@dataclass(frozen=True)
class OutliersJob(DenseScoresJob):
    """Compute the outlier ratio of every block from stored statistics (Yin et al., arXiv:2310.05175)."""

    kind: ClassVar[str] = "outliers"
    m: Annotated[float, Parameter()]
    """An outlier is above m times the mean score of its block."""

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Score the blocks. The weights of a block are in memory only while it is scored."""
        blocks = range(self.model.n_blocks)
        ratios = parallel_map(lambda block: outlier_ratio(self.scores(store, block), self.m), blocks)
        rows: list[JsonObject] = [
            {
                "outliers_id": self.identity.id,
                "base_model_id": self.model.base_model_id,
                "m": self.m,
                "block": block,
                "ratio": ratio,
            }
            for block, ratio in enumerate(finished_parts("block", len(blocks), ratios))
        ]
        store.write_record(self.identity.record(rows={"outlier_ratios": rows}))


@lru_cache(maxsize=64)
def _ratios(store_uri: str, outliers_id: str) -> tuple[BlockValue, ...]:
    """Return the outlier ratios; all blocks count equally."""
    rows = Store(store_uri).require("outliers", outliers_id).rows["outlier_ratios"]
    return tuple(BlockValue(as_float(row["ratio"])) for row in rows)


READERS: Mapping[str, Callable[[str, str], tuple[BlockValue, ...]]] = {"outliers": _ratios, "block_values": _values}
"""Kind of record -> function that reads the values of all blocks, given the URI of the store and the record's id."""


@dataclass(frozen=True)
class SpectraJob(DeclaredJob):
    """Fit the tails of the spectra of one block's layers, with each cut-off (Lu et al., arXiv:2410.10912)."""

    kind: ClassVar[str] = "spectra"
    step: ClassVar[str] = "prune"
    model: Annotated[job.ModelRef, BaseModel()]
    block: Annotated[int, Parameter()]

    @property
    def reads_block(self) -> int:
        """The block."""
        return self.block

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """The eigenvalues of every layer of the block, one layer per thread.

        A layer has the smaller side n at most as long as the hidden states. Its Gram matrix and the eigenvalues of this
        take as long as about 20 products of its weights with n columns in float32 (measured on 1024 x 1024 and
        4096 x 1024: 22 and 10).
        """
        return job.JobCost(
            self.step,
            flops=20.0 * sum(sizes.prunable) * sizes.hidden,
            fixed_bytes=job.SMALL_JOB_BYTES + sum(sizes.prunable) * sizes.itemsize,
            thread_bytes=8 * sizes.prunable[0] + 4 * 8 * sizes.hidden**2,
        )

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Compute the spectra, one layer per thread."""
        weights = read_block(Path(self.model.path), self.block, dtype=self.model.dtype)
        rows = list(parallel_map(lambda layer: self._rows(layer, weights), weights))
        store.write_record(self.identity.record(rows={"layer_spectra": [row for of_layer in rows for row in of_layer]}))

    def _rows(self, layer: str, weights: Mapping[str, Tensor]) -> list[JsonObject]:
        """Return one row per cut-off."""
        values = spectrum(weights[layer])
        common: JsonObject = {
            "spectra_id": self.identity.id,
            "base_model_id": self.model.base_model_id,
            "block": self.block,
            "layer": layer,
            "n_weights": weights[layer].numel(),
            "n_eigenvalues": len(values),
            "largest": float(values[-1]) if len(values) else 0.0,
        }
        rows: list[JsonObject] = []
        for cutoff in CUTOFFS:
            try:
                tail = layer_tail(values, cutoff)
            except StatisticsError as err:
                raise StatisticsError(
                    "alpha_pruning cannot use a layer whose singular values are all equal, such as one of zeros",
                    block=self.block,
                    layer=layer,
                    next="another schedule, or a model without such a layer",
                ) from err
            fitted = {"exponent": tail.exponent, "n_tail": tail.n, "smallest": tail.smallest, "distance": tail.distance}
            rows.append({**common, "cutoff": cutoff, **fitted})
        return rows


@dataclass(frozen=True)
class MeanExponentsJob(DeclaredJob, job.SmallJob):
    """Average the exponents of the layers of each block."""

    kind: ClassVar[str] = "block_values"
    step: ClassVar[str] = "prune"
    base_model_id: Annotated[str, Parent("base_model", kind="")]
    name: Annotated[str, Parameter()]
    """Of the values, such as `xmin_mid_exponent`."""
    spectra: Annotated[tuple[str, ...], Parent("spectra", "spectra")]
    """Ids of the blocks' records."""

    @property
    def cutoff(self) -> CutoffName:
        """The cut-off of the spectra."""
        return cast("CutoffName", self.name.removesuffix(EXPONENT))

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Write the mean over the layers of each block, each layer counted once, as the published code has it."""
        values = [self._value(store, spectra_id) for spectra_id in self.spectra]
        rows = value_rows(self.identity.id, values, base_model_id=self.base_model_id, name=self.name)
        store.write_record(self.identity.record(rows={"block_values": rows}))

    def _value(self, store: Store, spectra_id: str) -> BlockValue:
        rows = store.require("spectra", spectra_id).rows["layer_spectra"]
        chosen = [row for row in rows if row["cutoff"] == self.cutoff]
        mean = sum(as_float(row["exponent"]) for row in chosen) / len(chosen)
        return BlockValue(mean, sum(as_int(row["n_weights"]) for row in chosen))


def job_of_values(record: Record, work: StoredWork) -> BlockScoresJob | MeanExponentsJob:
    """Return the job that wrote a record of kind `block_values`."""
    is_score = as_str(record.parameters["name"]).endswith(SCORE)
    return (BlockScoresJob if is_score else MeanExponentsJob).of_record(record, work)


@dataclass(frozen=True)
class PlannedValues:
    """The record with the values of all blocks, and the jobs that make it."""

    key: job.RecordKey
    jobs: tuple[job.Job, ...]


@dataclass(frozen=True)
class ValueSources:
    """What values of blocks are computed from."""

    model: job.ModelRef
    scores: DenseScores | None
    """None for a variant without demonstrations."""

    @property
    def read_scores(self) -> tuple[job.ModelRef, StatisticsSelection, tuple[str, ...]]:
        """The fields of `scores`.

        Raises:
            RecipeError: the variant has no demonstrations.
        """
        if self.scores is None:
            raise RecipeError("a schedule reads demonstrations", expected="a score that reads demonstrations")
        return self.scores.model, self.scores.selection, self.scores.statistics


def plan_block_values(schedule: ScheduleSpec, sources: ValueSources) -> PlannedValues | None:
    """Return the values that a schedule reads; None if it reads none."""
    planner = PLANNERS.get(schedule.kind)
    return planner(schedule, sources) if planner else None


def read_block_values(store: Store, key: job.RecordKey) -> tuple[BlockValue, ...]:
    """Return the values of all blocks of a record, in order."""
    kind, record_id = key
    return READERS[kind](store.uri, record_id)


def values_key(record: Record) -> job.RecordKey | None:
    """Return the record of values that masks were made from; None if they were made from none."""
    keys = ((kind, record.optional_parent(kind)) for kind in READERS)
    return next(((kind, record_id) for kind, record_id in keys if record_id), None)


def _outliers(schedule: ScheduleSpec, sources: ValueSources) -> PlannedValues:
    parameters = checked_parameters(schedule.schedule_parameters, OwlParameters)
    return _planned(OutliersJob(*sources.read_scores, parameters.m))


def _scores(schedule: ScheduleSpec, sources: ValueSources) -> PlannedValues:
    parameters = checked_parameters(schedule.schedule_parameters, DlpParameters)
    return _planned(BlockScoresJob(*sources.read_scores, f"{parameters.statistic}{SCORE}"))


def _exponents(schedule: ScheduleSpec, sources: ValueSources) -> PlannedValues:
    parameters = checked_parameters(schedule.schedule_parameters, AlphaPruningParameters)
    of_blocks = [SpectraJob(sources.model, block) for block in range(sources.model.n_blocks)]
    ids = tuple(one.identity.id for one in of_blocks)
    means = MeanExponentsJob(sources.model.base_model_id, f"{parameters.cutoff}{EXPONENT}", ids)
    return _planned(*of_blocks, means)


PLANNERS: Mapping[str, Callable[[ScheduleSpec, ValueSources], PlannedValues]] = {
    "owl": _outliers,
    "dlp": _scores,
    "alpha_pruning": _exponents,
}
"""Schedule -> function that plans its values of blocks."""


def _planned(*jobs: DeclaredJob) -> PlannedValues:
    """Return the values that the last job writes."""
    return PlannedValues(jobs[-1].identity.key, jobs)
