"""The mean hidden state of a language after every block of the dense model, for LRP2.

The artefact has sums over all tokens of a demonstration set (float64) and the number of tokens, so that means of
several sets can be joined.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlprune.errors import statistics_context
from mlprune.json_values import JsonValue
from mlprune.models.inference.visitor import BatchVisitor
from mlprune.models.messages import HiddenStates
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.activations.accelerator_statistics import submit_token_sums
from mlprune.numeric.activations.statistics import check_token_sums
from mlprune.steps.job import ChainLoader
from mlprune.steps.observe.dense_pass import DensePassJob, dense_pass
from mlprune.steps.observe.statistics_files import array_column, matrix_column, numeric_columns
from mlprune.store.parquet import Layout, decode_numeric, encode_numeric
from mlprune.store.store import Store

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner

LAYOUT = Layout("hidden_sums", 1, {"block": "int32", "n_tokens": "int64", "sums": "list<double>"})
"""One row per block, from 0: the sums of the hidden states after it."""


@dataclass(frozen=True)
class StateSums:
    """Sums of a batch's hidden states, on the CPU."""

    sums: Tensor
    """[n_blocks, d] float64: sums of the states after each block, before the final norm, over the counted tokens."""
    n_tokens: int
    """Counted tokens."""


@dataclass
class HiddenSumVisitor(BatchVisitor[StateSums]):
    """Sum the hidden states after each block.

    Raises:
        StatisticsError: a counted state is not finite; the block is named.
    """

    sums: list[Tensor] = field(init=False, default_factory=list)
    """One [d] float64 per block so far."""

    def around_block(self, runner: "BlockRunner", block: int, states: HiddenStates) -> HiddenStates:
        """Run a block and sum the states after it."""
        states_after = runner.step(block, states)
        with statistics_context(block=block):
            self.gather(block, "state", submit_token_sums(states_after.hidden, self.counted))
        return states_after

    def keep(self, block: int, name: str, tensor: Tensor) -> None:
        """Keep the sums after a block."""
        with statistics_context(block=block):
            check_token_sums(tensor)
        self.sums.append(tensor)

    def result(self) -> StateSums:
        """Return the sums of all blocks."""
        return StateSums(torch.stack(self.sums), int(self.batch.counted.sum()))


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
