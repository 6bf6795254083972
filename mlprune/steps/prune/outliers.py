"""Outlier ratios of the wanda scores of each block of the dense model, for schedule owl (step `prune`)."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from mlprune.json_values import JsonObject, as_float
from mlprune.models.checkpoint.weight_files import read_block
from mlprune.models.families.records import FAMILIES
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.activations.outlier_ratios import outlier_ratio
from mlprune.numeric.weights.scores import wanda_scores
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.feature_factors import factors_of
from mlprune.pruning.spec import StatisticsSelection
from mlprune.steps.job import ChainLoader, ModelRef, RecordJob, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.observe.statistics_files import read_block_totals
from mlprune.steps.prune.cost import outliers_cost
from mlprune.store.store import Store


@dataclass(frozen=True)
class OutliersJob(RecordJob):
    """Compute the outlier ratio of every block from stored statistics (Yin et al., arXiv:2310.05175)."""

    step: ClassVar[str] = "prune"
    model: ModelRef
    m: float
    """An outlier is above m times the mean score of its block."""
    selection: StatisticsSelection
    statistics: tuple[str, ...]

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The statistics."""
        return tuple(("statistics", statistics_id) for statistics_id in self.statistics)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """All blocks, one per thread."""
        return outliers_cost(self.step, sizes)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Score the blocks. The weights of a block are in memory only while it is scored."""
        ratios = parallel_map(lambda block: self._ratio(store, block), range(self.model.n_blocks))
        rows: list[JsonObject] = [
            {
                "outliers_id": self.identity.id,
                "base_model_id": self.model.base_model_id,
                "m": self.m,
                "block": block,
                "ratio": ratio,
            }
            for block, ratio in enumerate(ratios)
        ]
        store.write_record(self.identity.record(rows={"outlier_ratios": rows}))

    def _ratio(self, store: Store, block: int) -> float:
        family = FAMILIES[self.model.family]
        records = [store.require("statistics", statistics_id) for statistics_id in self.statistics]
        sets = [read_block_totals(store, record.artefacts, block, selection=self.selection) for record in records]
        factors = factors_of(sets, selection=self.selection)
        weights = read_block(Path(self.model.path), block, dtype=self.model.dtype)
        scores = (wanda_scores(weight, factors[family.input_of(layer)][0]) for layer, weight in weights.items())
        return outlier_ratio(scores, self.m)


def read_ratios(store: Store, outliers_id: str) -> tuple[float, ...]:
    """Return the outlier ratios of all blocks, in order."""
    return _ratios(store.uri, outliers_id)


@lru_cache(maxsize=64)
def _ratios(store_uri: str, outliers_id: str) -> tuple[float, ...]:
    rows = Store(store_uri).require("outliers", outliers_id).rows["outlier_ratios"]
    return tuple(as_float(row["ratio"]) for row in rows)
