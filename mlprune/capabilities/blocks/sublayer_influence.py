"""Influence of sub-layers: how much each turns the hidden states of a demonstration set in the dense model.

influence of a sub-layer = sum over demonstrations and tokens of (1 - cosine) / number of tokens

with the cosine of a token's hidden states before and after the sub-layer. A block runs again with zeros in place of the
outputs of its later sub-layers, so that it returns the states after the earlier ones, by its own code. A sub-layer of a
parallel block reads the states before the block, and is compared with them alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from mlprune.errors import statistics_context
from mlprune.json_values import JsonObject
from mlprune.models.architecture.architecture import Architecture, BlockArchitecture, SubLayer
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.inference.observation import InfluenceVisitor
from mlprune.models.messages import HiddenStates
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.activations.influence import influence_sums
from mlprune.steps.job import EMPTY_SET, JobCost, SetSizes, batch_bytes
from mlprune.steps.observe.block_influence import BlockInfluenceJob

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner


def sublayers_in(architecture: Architecture) -> list[tuple[int, SubLayer]]:
    """Return (block, sub-layer) of a model, in the order of their run."""
    blocks = range(architecture.n_blocks)
    return [(block, sublayer) for block in blocks for sublayer in architecture.block(block).sublayers]


@dataclass
class SublayerInfluenceVisitor(InfluenceVisitor):
    """Compare the hidden states before and after each sub-layer.

    Raises:
        StatisticsError: a counted state is not finite; the block is named.
    """

    def around_block(self, runner: BlockRunner, block: int, states: HiddenStates) -> HiddenStates:
        """Run a block, and again without some of its sub-layers; compare the states around each of them."""
        kind, states_after = runner.architecture.block(block), runner.step(block, states)
        hidden = {frozenset(range(len(kind.sublayers))): states_after.hidden}
        if not _adds_more(kind):
            hidden.setdefault(frozenset(), states.hidden.to(states_after.hidden.device))
        for number, sublayer in enumerate(kind.sublayers):
            before = frozenset(range(number)) if sublayer.reads_earlier else frozenset[int]()
            after = before | {number}
            for ran in (before, after):
                if ran not in hidden:
                    hidden[ran] = self._hidden_after(runner, block, states, ran=ran)
            with statistics_context(block=block):
                sums = influence_sums(hidden[before], hidden[after], counted=self.counted)
            self.gather(block, sublayer.kind, sums)
        return states_after

    def _hidden_after(self, runner: BlockRunner, block: int, states: HiddenStates, *, ran: Collection[int]) -> Tensor:
        """Return the hidden states after a block of which only some sub-layers add something."""
        sublayers = enumerate(runner.architecture.block(block).sublayers)
        silenced = {layer for number, one in sublayers if number not in ran for layer in one.outputs}
        with runner.hooks.silencing(silenced):
            return runner.step(block, states).hidden


def _adds_more(kind: BlockArchitecture) -> bool:
    """Whether a block has layers outside its sub-layers, whose contribution is no part of their influence."""
    return bool(set(kind.layers) - {layer for sublayer in kind.sublayers for layer in sublayer.layers})


@dataclass(frozen=True)
class SublayerInfluenceJob(BlockInfluenceJob):
    """Run a demonstration set through the dense model and compare the states before and after each sub-layer."""

    kind: ClassVar[str] = "sublayer_influence"
    visitor: ClassVar[type[InfluenceVisitor]] = SublayerInfluenceVisitor

    def units(self) -> list[JsonObject]:
        """Return the sub-layers."""
        found = sublayers_in(architecture_at(self.model.path))
        return [{"block": block, "sublayer": sublayer.kind} for block, sublayer in found]

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One pass over the set, in which a block runs up to three times."""
        size, thread_bytes = sets.get(self.demonstration_set_id, EMPTY_SET), batch_bytes(sizes, self.batch_tokens)
        usual = JobCost.dense_pass(self.step, sizes, size.n_tokens, thread_bytes=2 * thread_bytes, n_runs=3)
        return replace(usual, disk_bytes=self.stored_bytes(sizes))
