"""Score texts that share prefixes: each prefix runs once, and the continuations run on top of it.

A batch contains prefixes, padded on the left, and their continuations in groups of similar length, padded on the right.
The whole batch runs one block before the next, so the keys and values of only one block are in memory and its weights
are read once. The model never runs the last token of a text, because that token predicts nothing.

Prefixes have no padding between their tokens, because blocks with a sliding window count positions, not tokens.

A recurrent block has no keys and values per token that a continuation could use, and some models have no cache. They
run whole texts: prefixes without continuations, padded on the right.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Generic

import torch
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.models.inference.kept_states import Path
from mlprune.models.inference.visitor import Result_co
from mlprune.models.messages import ScoringBatch, States, on_device
from mlprune.models.placement.budget import GroupLimit
from mlprune.numeric.log_probs import OutputHead, TargetScores, target_scores

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner


@dataclass
class PrefixVisitor(ABC, Generic[Result_co]):
    """Run prefixes and, on top of their keys and values, the continuations.

    Its states are those of the prefixes, followed by those of each group.
    """

    batch: ScoringBatch
    keeps_states: bool = False
    """Whether later variants score the batch, too; see `KeptStates`."""
    _parents: dict[torch.device, list[Tensor]] = field(init=False, repr=False, default_factory=dict)
    """Device -> the parents of each group, once they were copied there."""

    _first_block: int = field(init=False, repr=False, default=0)
    _path: Path = field(init=False, repr=False, default=())

    needs_head = True

    def start(self, runner: BlockRunner) -> States:
        """Return the states before the last block before which they are kept, or embed the batch.

        Raises:
            ModelError: the model runs whole texts, and the batch has continuations.
        """
        if self.keeps_states and runner.kept_states is not None:
            self._path = runner.kept_states.path()
            kept = runner.kept_states.nearest(self.batch.key, self._path)
            if kept is not None:
                self._first_block, states = kept
                return states
        states = self.embedded(runner)
        self._keep(runner, 0, states)
        return states

    def _keep(self, runner: BlockRunner, block: int, states: States) -> None:
        """Keep the states before a block for later variants, if the variant may share them."""
        if block < len(self._path) and block < runner.n_blocks and runner.kept_states is not None:
            runner.kept_states.keep(self.batch.key, self._path[block], states)

    def embedded(self, runner: BlockRunner) -> States:
        """Embed the prefixes, and the groups as continuations of a cache as long as the prefixes.

        Raises:
            ModelError: the model runs whole texts, and the batch has continuations.
        """
        batch, whole_texts = self.batch, runner.architecture.runs_whole_texts
        if whole_texts and batch.groups:
            message = "the model cannot continue prefixes"
            raise ModelError(message, expected="batches of whole texts", got=len(batch.groups))
        positions = _positions(batch.prefix_mask)
        prefix_cache = None if whole_texts else runner.caches.new()
        prefix = runner.embed(batch.prefix_ids, batch.prefix_mask, cache=prefix_cache, positions=positions)
        if not batch.groups:
            return (prefix,)
        cache = runner.caches.of_length(*batch.prefix_ids.shape)
        groups = []
        for group in batch.groups:
            mask = torch.cat([batch.prefix_mask[group.parent], group.mask], dim=1)
            positions = _positions(mask)[:, batch.prefix_ids.shape[1] :]
            groups.append(runner.embed(group.token_ids, mask, cache=cache, positions=positions))
        return (prefix, *groups)

    def needs_block(self, block: int) -> bool:
        """Return True: all blocks run."""
        return True

    def visit(self, runner: BlockRunner, block: int, states: States) -> States:
        """Run one block on the prefixes, then on each group with the keys and values of its prefixes."""
        if block < self._first_block:
            return states
        after = self._run(runner, block, states)
        self._keep(runner, block + 1, after)
        return after

    def _run(self, runner: BlockRunner, block: int, states: States) -> States:
        if not self.batch.groups:
            return (runner.step(block, states[0]),)
        cache = runner.caches.for_block(block)
        prefix = runner.step(block, states[0], cache)
        device = cache.layers[block].device
        groups = []
        for parents, group_states in zip(self._parents_on(device), states[1:], strict=True):
            group_cache = runner.caches.with_rows(cache, parents, block=block)
            groups.append(runner.step(block, group_states, group_cache))
        return (prefix, *groups)

    def leave_shard(self) -> None:
        """Free the memory on devices; nothing is observed before the head."""
        self._parents.clear()

    def finish(self, runner: BlockRunner, states: States) -> Result_co:
        """Apply the final norm once to each state that predicts a target, and return the result of these states."""
        flat = [group.hidden.flatten(end_dim=1) for group in states]
        device = flat[0].device
        indices = self.batch.predicting[0].to(device, non_blocking=True)
        return self.result(runner, runner.apply_final_norm(torch.cat([group.to(device) for group in flat])[indices]))

    @abstractmethod
    def result(self, runner: BlockRunner, hidden: Tensor) -> Result_co:
        """Return the result of [m, d] states after the final norm: those of `ScoringBatch.predicting`."""

    def waiting_bytes(self, limit: GroupLimit) -> int:
        """Return the size of the hidden states and attention masks of prefixes and continuations."""
        batch = self.batch
        length = batch.prefix_ids.shape[1] + max((group.token_ids.shape[1] for group in batch.groups), default=0)
        return batch.n_computed * limit.token_bytes(length)

    def _parents_on(self, device: torch.device) -> list[Tensor]:
        if device not in self._parents:
            self._parents[device] = [on_device(group.parent, device) for group in self.batch.groups]
        return self._parents[device]


@dataclass
class ScoringVisitor(PrefixVisitor[TargetScores]):
    """Score the targets of a batch."""

    def result(self, runner: BlockRunner, hidden: Tensor) -> TargetScores:
        """Project each state once, and score the targets."""
        return target_scores(hidden, output_head(runner), states=self.batch.predicting[1], targets=self.batch.targets)


@dataclass
class SkippingVisitor(Generic[Result_co]):
    """Run a batch through several models that each lack some blocks; what they have in common runs once.

    A branch is a set of blocks that have been skipped. Its states run through each block once, for all models that
    have skipped these blocks and no others. The weights are those of the model with all blocks. Every model computes
    what it would compute alone, on equal shapes, so its result has the same bits.
    """

    visitor: PrefixVisitor[Result_co]
    """Runs the batch through a block, and returns the result of a model."""
    lacks: tuple[frozenset[int], ...]
    """The blocks that each model lacks."""
    _branches: tuple[frozenset[int], ...] = field(init=False, repr=False, default=(frozenset(),))
    """The branches, whose states follow each other."""

    needs_head = True

    def start(self, runner: BlockRunner) -> States:
        """Embed the batch. See `PrefixVisitor.start` for the error."""
        return self.visitor.embedded(runner)

    def needs_block(self, block: int) -> bool:
        """Return True: all blocks run."""
        return True

    def visit(self, runner: BlockRunner, block: int, states: States) -> States:
        """Run one block on the branches of models that have it, and begin those of models that lack it."""
        after: dict[frozenset[int], States] = {}
        for skipped, of_branch in self._by_branch(states).items():
            models = [lacked for lacked in self.lacks if {one for one in lacked if one < block} == skipped]
            if any(block not in lacked for lacked in models):
                after[skipped] = self.visitor.visit(runner, block, of_branch)
            if any(block in lacked for lacked in models):
                after[skipped | {block}] = tuple(one.without(block) for one in of_branch)
        self._branches = tuple(after)
        return tuple(chain.from_iterable(after.values()))

    def leave_shard(self) -> None:
        """Free the memory on devices."""
        self.visitor.leave_shard()

    def finish(self, runner: BlockRunner, states: States) -> tuple[Result_co, ...]:
        """Return the result of each model."""
        of_branches = self._by_branch(states)
        results = {lacked: self.visitor.finish(runner, of_branches[lacked]) for lacked in dict.fromkeys(self.lacks)}
        return tuple(results[lacked] for lacked in self.lacks)

    def waiting_bytes(self, limit: GroupLimit) -> int:
        """Return the size of the states of as many branches as there can be."""
        return (1 + len(self.lacks)) * self.visitor.waiting_bytes(limit)

    def _by_branch(self, states: States) -> dict[frozenset[int], States]:
        n_states = len(states) // len(self._branches)
        parts = (states[start : start + n_states] for start in range(0, len(states), n_states))
        return dict(zip(self._branches, parts, strict=True))


def output_head(runner: BlockRunner, *, is_dense: bool = False) -> OutputHead:
    """Return the head of the variant, or of the dense model, without the tokens that are removed."""
    return OutputHead(
        runner.embeddings.dense(runner.head) if is_dense else runner.head.weight,
        runner.head.bias,
        runner.architecture.logit_scale,
        runner.architecture.softcap,
        removed=runner.removed_tokens,
    )


def _positions(mask: Tensor) -> Tensor:
    """[n, s] int64: position of each token among the tokens of its row, padding not counted."""
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)
