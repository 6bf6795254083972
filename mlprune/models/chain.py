"""Chains: the shards of one replica behind one small protocol, and what is written once for any of them.

`LocalChain` is the chain in this process. Another implementation only has to forward: payloads can be pickled.
"""

import uuid
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ModelError
from mlprune.models.device_map import plan_spans
from mlprune.models.footprint import footprint
from mlprune.models.lockstep import GroupLimit, grouped
from mlprune.models.payloads import DecodeStep
from mlprune.models.shard import Shard
from mlprune.terms import DtypeName
from mlprune.threads import side_by_side


class Chain(Protocol):
    """One replica of a base model, cut into shards."""

    @property
    def n_blocks(self) -> int:
        """Blocks of the whole model."""

    @property
    def spans(self) -> tuple[range, ...]:
        """The blocks of each shard, in order."""

    def stream(self, operation: str, items: Iterable[Any]) -> Iterator[Any]:
        """Send items through a method of every shard in turn, each taking what the one before it returned.

        Args:
            operation: `observe`, `score` or `decode`.
            items: what the first shard takes; may be drawn ahead of the results.
        Returns: what the last shard returns, in the order of the items.
        """

    def on_block(self, block: int, operation: str, *args: Any) -> Any:
        """Call a method of the shard that holds a block, with exactly these arguments, and return its result."""

    def everywhere(self, operation: str, *args: Any) -> list[Any]:
        """Call a method of all shards with the same arguments; their results in order."""


class LocalChain:
    """Shards in this process; items travel side by side, as many at a time as the process has threads.

    Where blocks take turns in memory, items travel in groups, block by block, so that weights are read once a group.

    Raises:
        ModelError: the shards do not follow each other from the first block to the last.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = tuple(shards)
        self.spans = tuple(shard.blocks for shard in self._shards)
        self.n_blocks = self._shards[0].n_blocks if shards else 0
        blocks = [block for span in self.spans for block in span]
        if not shards or blocks != list(range(self.n_blocks)):
            raise ModelError("shards do not follow each other", expected=f"blocks 0 to {self.n_blocks - 1}", got=blocks)
        self._limit = chain_limit(shard.group_limit() for shard in self._shards)

    def stream(self, operation: str, items: Iterable[Any]) -> Iterator[Any]:
        """See `Chain.stream`."""

        def through(item: Any) -> Any:
            for shard in self._shards:
                item = getattr(shard, operation)(item)
            return item

        return side_by_side(through, items) if self._limit is None else self._in_groups(operation, items, self._limit)

    def _in_groups(self, operation: str, items: Iterable[Any], limit: GroupLimit) -> Iterator[Any]:
        for group in grouped(items, limit):
            travelling = group
            for shard in self._shards:
                travelling = shard.together(operation, travelling)
            yield from travelling
        self.everywhere("rest")

    def on_block(self, block: int, operation: str, *args: Any) -> Any:
        """See `Chain.on_block`."""
        return getattr(self._shards[shard_of(self.spans, block)], operation)(*args)

    def everywhere(self, operation: str, *args: Any) -> list[Any]:
        """See `Chain.everywhere`."""
        return [getattr(shard, operation)(*args) for shard in self._shards]


def local_chain(
    path: Path,
    *,
    n_shards: int = 1,
    dtype: DtypeName = "float32",
    memory_bytes: int | None = None,
    working_bytes: int | None = None,
) -> LocalChain:
    """Load a model as a chain in this process.

    Args:
        memory_bytes: of each shard, as if it were alone in its process.
        working_bytes: part of it for the work; see `Shard`.
    Raises:
        ModelError: the folder is not one we read, the model has fewer blocks than shards are wanted, or the memory has
            no room for one block.
    """
    n_blocks = len(footprint(path, dtype).blocks)
    spans = plan_spans(n_blocks, n_shards)
    options: dict[str, Any] = {"dtype": dtype, "memory_bytes": memory_bytes, "working_bytes": working_bytes}
    return LocalChain([Shard(path, span, n_blocks=n_blocks, **options) for span in spans])


def chain_limit(limits: Iterable[GroupLimit | None]) -> GroupLimit | None:
    """What may go through a chain together, from the `group_limit` of its shards; None: items go one by one."""
    return next((limit for limit in limits if limit is not None), None)


def shard_of(spans: Sequence[range], block: int) -> int:
    """Position of the shard that holds a block.

    Raises:
        ModelError: none does.
    """
    for position, span in enumerate(spans):
        if block in span:
            return position
    raise ModelError("no shard holds the block", got=block, expected=f"0 to {spans[-1].stop - 1}")


def advance_to(chain: Chain, block: int, keys: Iterable[Hashable]) -> None:
    """Before a sweep enters a block: bring the states behind the block before it to the shard that holds it."""
    if block == 0 or shard_of(chain.spans, block - 1) == shard_of(chain.spans, block):
        return
    for key in keys:
        chain.on_block(block, "sweep_accept", key, chain.on_block(block - 1, "sweep_release", key))


def greedy_decode(
    chain: Chain,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_id: int,
    pad_id: int,
    ends: Callable[[Sequence[int]], bool] = lambda _: False,
) -> list[list[int]]:
    """Continue prompts with the likeliest token at each step, all of them together.

    Args:
        chain: the model.
        prompts: token ids, at least one each, short enough for the model's positions with the new tokens.
        max_new_tokens: most tokens appended to a prompt.
        stop_id: the token that ends a continuation.
        pad_id: fills short prompts up on the left and finished rows on the right; never attended to by real tokens
            of its row.
        ends: whether a continuation is complete with these new tokens.
    Returns: the new tokens of each prompt, without the stop token.
    Raises:
        BadInputError: a prompt is empty.
    """
    if not prompts:
        return []
    token_ids, mask = _padded_left(prompts, pad_id)
    outputs: list[list[int]] = [[] for _ in prompts]
    running = torch.ones(len(prompts), dtype=torch.bool)
    key = uuid.uuid4().hex
    try:
        for _ in range(max_new_tokens):
            chosen = next(iter(chain.stream("decode", [DecodeStep(key, token_ids, mask)])))
            running = running & (chosen != stop_id)
            for row in running.nonzero().flatten().tolist():
                outputs[row].append(int(chosen[row]))
                running[row] = not ends(outputs[row])
            if not running.any():
                break
            token_ids = torch.where(running, chosen, pad_id).unsqueeze(1)
            mask = torch.cat([mask, running.unsqueeze(1)], dim=1)
    finally:
        chain.everywhere("decode_end", key)
    return outputs


def _padded_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """[b, s] int64 ids and bool mask."""
    longest = max(len(prompt) for prompt in prompts)
    token_ids = torch.full((len(prompts), longest), pad_id, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        if not prompt:
            raise BadInputError("a prompt has no token", row=row)
        token_ids[row, longest - len(prompt) :] = torch.tensor(list(prompt), dtype=torch.int64)
    lengths = torch.tensor([len(prompt) for prompt in prompts]).unsqueeze(1)
    return token_ids, torch.arange(longest).unsqueeze(0) >= longest - lengths
