"""Plan the values of blocks that a schedule reads.

A further schedule of this kind is an entry in `SCHEDULES`, a job here, and an entry in `PLANNERS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlprune.errors import RecipeError
from mlprune.json_values import JsonObject, JsonValue
from mlprune.methods import AlphaPruningParameters, DlpParameters, OwlParameters, checked_parameters
from mlprune.pruning.schedules import BlockValue
from mlprune.pruning.spec import ScheduleSpec
from mlprune.steps.job import Identity, Job, ModelRef, RecordKey, computed_parameters, make_identity
from mlprune.steps.prune.block_values.dense_scores import DenseScores
from mlprune.steps.prune.block_values.outliers import OutliersJob, read_ratios
from mlprune.steps.prune.block_values.rows import read_values
from mlprune.steps.prune.block_values.scores import BlockScoresJob
from mlprune.steps.prune.block_values.spectra import MeanExponentsJob, SpectraJob
from mlprune.store.records import Record
from mlprune.store.store import Store

READERS: Mapping[str, Callable[[Store, str], tuple[BlockValue, ...]]] = {
    "outliers": read_ratios,
    "block_values": read_values,
}
"""Kind of record -> function that reads the values of all blocks from it."""


@dataclass(frozen=True)
class PlannedValues:
    """The record with the values of all blocks, and the jobs that make it."""

    key: RecordKey
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class ValueSources:
    """What values of blocks are computed from."""

    model: ModelRef
    scores: DenseScores | None
    """None for a variant without demonstrations."""

    def identity(self, kind: str, **parameters: JsonValue) -> tuple[Identity, DenseScores]:
        """Return the identity of a record that is computed from the scores, and the scores.

        Raises:
            RecipeError: the variant has no demonstrations.
        """
        if self.scores is None:
            raise RecipeError("a schedule reads demonstrations", expected="a score that reads demonstrations")
        parents: JsonObject = {"base_model": self.model.base_model_id, "statistics": list(self.scores.statistics)}
        values: JsonObject = {**self.scores.selection.parameters, **parameters, **computed_parameters(self.model)}
        return make_identity(kind, values, parents=parents), self.scores


def plan_block_values(schedule: ScheduleSpec, sources: ValueSources) -> PlannedValues | None:
    """Return the values that a schedule reads; None if it reads none."""
    planner = PLANNERS.get(schedule.kind)
    return planner(schedule, sources) if planner else None


def read_block_values(store: Store, key: RecordKey) -> tuple[BlockValue, ...]:
    """Return the values of all blocks of a record, in order."""
    kind, record_id = key
    return READERS[kind](store, record_id)


def values_key(record: Record) -> RecordKey | None:
    """Return the record of values that masks were made from; None if they were made from none."""
    keys = ((kind, record.optional_parent(kind)) for kind in READERS)
    return next(((kind, record_id) for kind, record_id in keys if record_id), None)


def _outliers(schedule: ScheduleSpec, sources: ValueSources) -> PlannedValues:
    parameters = checked_parameters(schedule.schedule_parameters, OwlParameters)
    identity, scores = sources.identity("outliers", m=parameters.m)
    return PlannedValues(identity.key, (OutliersJob(identity, scores, parameters.m),))


def _scores(schedule: ScheduleSpec, sources: ValueSources) -> PlannedValues:
    parameters = checked_parameters(schedule.schedule_parameters, DlpParameters)
    identity, scores = sources.identity("block_values", name=f"{parameters.statistic}_score")
    return PlannedValues(identity.key, (BlockScoresJob(identity, scores, parameters.statistic),))


def _exponents(schedule: ScheduleSpec, sources: ValueSources) -> PlannedValues:
    parameters = checked_parameters(schedule.schedule_parameters, AlphaPruningParameters)
    model = sources.model
    parents: JsonObject = {"base_model": model.base_model_id}
    jobs = [
        SpectraJob(
            make_identity("spectra", {"block": block, **computed_parameters(model)}, parents=parents), model, block
        )
        for block in range(model.n_blocks)
    ]
    ids = tuple(job.identity.id for job in jobs)
    name: JsonObject = {"name": f"{parameters.cutoff}_exponent"}
    identity = make_identity("block_values", name, parents={**parents, "spectra": list(ids)})
    return PlannedValues(identity.key, (*jobs, MeanExponentsJob(identity, model, parameters.cutoff, ids)))


PLANNERS: Mapping[str, Callable[[ScheduleSpec, ValueSources], PlannedValues]] = {
    "owl": _outliers,
    "dlp": _scores,
    "alpha_pruning": _exponents,
}
"""Schedule -> function that plans its values of blocks."""
