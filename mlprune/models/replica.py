"""One replica of a base model as steps speak to it, and what is written once for any of its implementations.

What runs it, in this process (`chain`) or in others, is of no concern here and is not imported.
"""

import uuid
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from mlprune.errors import BadInputError
from mlprune.models.payloads import DecodeStep
from mlprune.models.spans import shard_of


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
