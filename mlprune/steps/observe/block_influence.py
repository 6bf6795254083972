"""Block influence: how much each block of the dense model turns the hidden states of a demonstration set.

influence of a block = sum over demonstrations and tokens of (1 - cosine) / number of tokens

with the cosine of a token's hidden states before and after the block (`influence_sums`). Demonstrations are resampled
for the interval: 1,999 resamples of `cluster_resamples` (seed 0), the ratio of sums in each, and the BCa interval of
these ratios. Sets of one language give the influence in this language.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlprune.corpus.calibration import token_batches
from mlprune.evaluation.inference.estimates import interval_columns
from mlprune.json_values import JsonObject
from mlprune.models.chain import Chain, stream_tagged
from mlprune.models.inference.observation import InfluenceVisitor
from mlprune.models.shard import Shard
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.bootstrap import bca_interval, cluster_resamples, leave_one_out_sums, resampled_ratios
from mlprune.numeric.statistics.clusters import Interval
from mlprune.processes.job_parts import job_parts
from mlprune.steps.job import ChainLoader
from mlprune.steps.observe.dense_pass import DensePassJob
from mlprune.store.parquet import columns_of
from mlprune.store.store import Store


@dataclass(frozen=True)
class Influence:
    """Influence of one block over demonstrations."""

    value: float
    interval: Interval | None
    """95 %; None for a single demonstration."""
    standard_error: float | None
    """Standard deviation over the resamples; None for a single demonstration."""


@dataclass(frozen=True)
class BlockInfluenceJob(DensePassJob):
    """Run a demonstration set through the dense model and compare the states before and after each block."""

    kind: ClassVar[str] = "block_influence"
    """Kind of its record, and table of its rows."""
    visitor: ClassVar[type[InfluenceVisitor]] = InfluenceVisitor

    def units(self) -> list[JsonObject]:
        """Return the columns of what is compared, in the order of the visitor's sums: the blocks."""
        return [{"block": block} for block in range(self.model.n_blocks)]

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare all batches and write the record.

        Raises:
            StatisticsError: a hidden state is not finite.
        """
        units = self.units()
        sums, n_tokens = self._observe(store, chain(), n_units=len(units))
        rows: list[JsonObject] = [
            {
                f"{self.kind}_id": self.identity.id,
                "base_model_id": self.model.base_model_id,
                "demonstration_set_id": self.demonstration_set_id,
                **unit,
                "n_demonstrations": len(n_tokens),
                "n_tokens": int(n_tokens.sum()),
                **_columns(influence_of(of_unit, n_tokens)),
            }
            for unit, of_unit in zip(units, sums, strict=True)
        ]
        store.write_record(self.identity.record(rows={self.kind: rows}))

    def _observe(self, store: Store, model: Chain, *, n_units: int) -> tuple[Array, Array]:
        """Return the sums of all units, [n_units, demonstrations], and the number of tokens, [demonstrations]."""
        artefact = store.require("demonstration_sets", self.demonstration_set_id).artefacts[0]
        texts = columns_of(store.read_bytes(artefact), ["token_ids"])["token_ids"]
        model.everywhere(Shard.set_keep_masks, None)
        sums, n_tokens = np.zeros((n_units, len(texts))), np.zeros(len(texts))
        batches = token_batches(texts, batch_tokens=self.batch_tokens)
        with job_parts("text", len(texts)) as done:
            for indices, influence in stream_tagged(model, self.visitor, batches):
                sums[:, list(indices)] = influence.sums.numpy()
                n_tokens[list(indices)] = influence.n_tokens.numpy()
                done(len(indices))
        return sums, n_tokens


def influence_of(sums: Array, n_tokens: Array) -> Influence:
    """Return the influence of a block, with its interval over demonstrations.

    Args:
        sums: [demonstrations], of 1 - cosine.
        n_tokens: [demonstrations], above 0.
    """
    value = float(sums.sum() / n_tokens.sum())
    if len(sums) < 2:
        return Influence(value, None, None)
    ratios, _ = resampled_ratios(cluster_resamples(len(sums)), sums, sizes=n_tokens)
    if np.ptp(ratios) == 0:
        return Influence(value, Interval(value, value), 0.0)
    left_out = leave_one_out_sums(np.stack([sums, n_tokens], axis=1))
    interval = bca_interval(ratios, value, left_out[:, 0] / left_out[:, 1])
    return Influence(value, interval, float(ratios.std(ddof=1)))


def _columns(influence: Influence) -> JsonObject:
    return {
        "influence": influence.value,
        **interval_columns("ci", influence.interval),
        "standard_error": influence.standard_error,
    }
