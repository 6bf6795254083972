"""Typical wanda score of each block of the dense model, for schedule dlp (step `prune`)."""

from dataclasses import dataclass

from mlprune.methods import StatisticName
from mlprune.numeric.allocation.block_scores import block_score
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.schedules import BlockValue
from mlprune.steps.job import ChainLoader
from mlprune.steps.prune.block_values.dense_scores import DenseScoresJob
from mlprune.steps.prune.block_values.rows import value_rows
from mlprune.store.store import Store


@dataclass(frozen=True)
class BlockScoresJob(DenseScoresJob):
    """Compute the mean or median score of every block from stored statistics (Chen et al., arXiv:2505.23807)."""

    statistic: StatisticName

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Score the blocks. The weights of a block are in memory only while it is scored."""
        values = tuple(parallel_map(lambda block: self._value(store, block), range(self.scores.model.n_blocks)))
        base_model_id, name = self.scores.model.base_model_id, f"{self.statistic}_score"
        rows = value_rows(self.identity.id, values, base_model_id=base_model_id, name=name)
        store.write_record(self.identity.record(rows={"block_values": rows}))

    def _value(self, store: Store, block: int) -> BlockValue:
        scores = tuple(self.scores.of_block(store, block))
        return BlockValue(block_score(scores, self.statistic), sum(layer.numel() for layer in scores))
