"""The mean hidden state of a language after every block of the dense model, for LRP2.

The artefact has sums over all tokens of a demonstration set (float64) and the number of tokens, so that means of
several sets can be joined.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.json_values import JsonValue
from mlprune.models.inference.observation import HiddenSumVisitor
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.job import ChainLoader
from mlprune.steps.observe.dense_pass import DensePassJob, dense_pass
from mlprune.steps.observe.statistics_files import array_column, matrix_column, numeric_columns
from mlprune.store.parquet import Layout, decode_numeric, encode_numeric
from mlprune.store.store import Store

LAYOUT = Layout("hidden_sums", 1, {"block": "int32", "n_tokens": "int64", "sums": "list<double>"})
"""One row per block, from 0: the sums of the hidden states after it."""


@dataclass(frozen=True)
class HiddenMeansJob(DensePassJob):
    """Run a demonstration set through the dense model and sum the hidden states after every block."""

    def stored_bytes(self, sizes: Footprint) -> float:
        """A mean in float64 per block and feature."""
        return 8.0 * sizes.hidden * len(sizes.blocks)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Sum the batches in order, then write the sums and the record.

        Raises:
            StatisticsError: a hidden state is not finite.
        """
        total, n_tokens = torch.zeros((), dtype=torch.float64), 0
        for states in dense_pass(store, chain(), HiddenSumVisitor, job=self):
            total, n_tokens = total + states.sums, n_tokens + states.n_tokens
        columns = {
            "block": list(range(len(total))),
            "n_tokens": [n_tokens] * len(total),
            "sums": list(total.numpy()),
        }
        data, n_rows = encode_numeric(numeric_columns(columns), LAYOUT)
        artefact = store.write_bytes(f"means/{self.identity.id}.parquet", data, n_rows=n_rows)
        row: dict[str, JsonValue] = {
            "means_id": self.identity.id,
            "base_model_id": self.model.base_model_id,
            "demonstration_set_id": self.demonstration_set_id,
            "n_tokens": n_tokens,
        }
        store.write_record(self.identity.record(artefacts=(artefact,), rows={"hidden_means": [row]}))


def mean_states(store: Store, means_id: str) -> Tensor:
    """[n_blocks, d] float64: the mean hidden state after every block.

    Raises:
        DamagedArtefactError: the file is missing or differs from the record.
        StoreError: there is no such record.
    """
    artefact = store.require("hidden_means", means_id).artefacts[0]
    columns = decode_numeric(store.read_bytes(artefact), LAYOUT, path=artefact.path)
    sums = torch.from_numpy(matrix_column(columns, "sums").copy())
    return sums / torch.from_numpy(array_column(columns, "n_tokens").copy()).unsqueeze(1)
