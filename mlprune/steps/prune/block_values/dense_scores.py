"""Wanda scores of the blocks of the dense model, from stored statistics, and the base of the jobs that read them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from mlprune.models.checkpoint.weight_files import read_block
from mlprune.models.families.records import FAMILIES
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.weights.scores import wanda_scores
from mlprune.pruning.feature_factors import factors_of
from mlprune.pruning.spec import StatisticsSelection
from mlprune.steps.job import ModelRef, RecordJob, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.observe.statistics_files import read_block_totals
from mlprune.steps.prune.cost import block_scores_cost
from mlprune.store.store import Store


@dataclass(frozen=True)
class DenseScores:
    """The statistics from which the scores are computed."""

    model: ModelRef
    selection: StatisticsSelection
    statistics: tuple[str, ...]
    """Ids of the statistics of the demonstration sets."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The statistics."""
        return tuple(("statistics", statistics_id) for statistics_id in self.statistics)

    def of_block(self, store: Store, block: int) -> Iterator[Tensor]:
        """Yield the scores of each layer of a block, [out, in] float32."""
        family = FAMILIES[self.model.family]
        records = [store.require("statistics", statistics_id) for statistics_id in self.statistics]
        sets = [read_block_totals(store, record.artefacts, block, selection=self.selection) for record in records]
        factors = factors_of(sets, selection=self.selection)
        weights = read_block(Path(self.model.path), block, dtype=self.model.dtype)
        for layer, weight in weights.items():
            yield wanda_scores(weight, factors[family.input_of(layer)][0])


@dataclass(frozen=True)
class DenseScoresJob(RecordJob):
    """Base of the jobs that compute a value of every block from the scores."""

    step: ClassVar[str] = "prune"
    scores: DenseScores

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The statistics."""
        return self.scores.needs

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """All blocks, one per thread."""
        return block_scores_cost(self.step, sizes)
