"""Helpers for tests of shards and chains."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import torch

from mlprune.models.inference.visitor import BlockVisitor, Result, ShardMessage
from mlprune.models.messages import TokenBatch
from mlprune.models.placement.budget import MemoryBudget
from mlprune.models.placement.memory_estimate import GROUP_BYTES, PROCESS_BYTES, footprint
from mlprune.models.shard import Shard
from mlprune.vocabulary import DtypeName

WORKING_BYTES = GROUP_BYTES + 2**24


def budget_for(path: Path, n_blocks: int, *, dtype: DtypeName = "float32") -> MemoryBudget:
    """Memory with room for this many blocks at once."""
    return MemoryBudget(PROCESS_BYTES + WORKING_BYTES + n_blocks * footprint(path, dtype).block, WORKING_BYTES)


def run_visitor(shards: Sequence[Shard], visitor: BlockVisitor[Result], *, pickled: bool = False) -> Result:
    """Result of one visitor that passes all shards, pickled before each of them if asked."""

    def sent(messages: list[ShardMessage[Result]]) -> list[ShardMessage[Result]]:
        return pickle.loads(pickle.dumps(messages)) if pickled else messages

    messages = [ShardMessage(visitor)]
    for shard in shards[:-1]:
        messages = shard.advance(sent(messages))
    return shards[-1].finish(sent(messages))[0]


LENGTHS = (7, 4, 1, 5)


def text_batch(rows: Sequence[int] = range(len(LENGTHS)), *, pad: int = 0) -> TokenBatch:
    """Texts of several lengths; the first token of a text counts in statistics only if it is the only one."""
    lengths = torch.tensor([LENGTHS[row] for row in rows]).unsqueeze(1)
    longest = int(lengths.max())
    positions = torch.arange(longest).unsqueeze(0)
    mask = positions < lengths
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 259, (len(LENGTHS), max(LENGTHS)), generator=generator)[list(rows), :longest]
    return TokenBatch(torch.where(mask, tokens, pad), mask, mask & ((positions > 0) | (lengths == 1)))
