"""Outlier ratios of the wanda scores of each block of the dense model, for schedule owl (step `prune`)."""

from dataclasses import dataclass
from functools import lru_cache

from mlprune.json_values import JsonObject, as_float
from mlprune.numeric.activations.outlier_ratios import outlier_ratio
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.schedules import BlockValue
from mlprune.steps.job import ChainLoader
from mlprune.steps.prune.block_values.dense_scores import DenseScoresJob
from mlprune.store.store import Store


@dataclass(frozen=True)
class OutliersJob(DenseScoresJob):
    """Compute the outlier ratio of every block from stored statistics (Yin et al., arXiv:2310.05175)."""

    m: float
    """An outlier is above m times the mean score of its block."""

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Score the blocks. The weights of a block are in memory only while it is scored."""
        blocks = range(self.scores.model.n_blocks)
        ratios = parallel_map(lambda block: outlier_ratio(self.scores.of_block(store, block), self.m), blocks)
        rows: list[JsonObject] = [
            {
                "outliers_id": self.identity.id,
                "base_model_id": self.scores.model.base_model_id,
                "m": self.m,
                "block": block,
                "ratio": ratio,
            }
            for block, ratio in enumerate(ratios)
        ]
        store.write_record(self.identity.record(rows={"outlier_ratios": rows}))


def read_ratios(store: Store, outliers_id: str) -> tuple[BlockValue, ...]:
    """Return the outlier ratios of all blocks, in order. All blocks count equally."""
    return _ratios(store.uri, outliers_id)


@lru_cache(maxsize=64)
def _ratios(store_uri: str, outliers_id: str) -> tuple[BlockValue, ...]:
    rows = Store(store_uri).require("outliers", outliers_id).rows["outlier_ratios"]
    return tuple(BlockValue(as_float(row["ratio"])) for row in rows)
