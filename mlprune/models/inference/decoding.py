"""Greedy decoding: many prompts on one replica, some batches at a time, and what all prompts begin with run once.

The beginning that all prompts share (a few-shot head) passes the model once. Its keys and values are copied to the rows
of each batch, moved to where the beginning of the row's prompt stands, so there is no padding inside a row: blocks that
see a window count places, not tokens. As many batches are decoded side by side as the process has threads.
"""

import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mlprune.errors import BadInputError
from mlprune.models.chain import Chain
from mlprune.models.messages import DecodeStep
from mlprune.parallel import n_threads

MIN_HEAD = 16
"""Shared beginnings of fewer tokens are run with each prompt."""

Ends = Callable[[Sequence[int]], bool]


@dataclass
class _Session:
    """A batch being decoded."""

    places: Sequence[int]
    """Which prompts it holds."""
    token_ids: Tensor
    """[b, s] int64, what the model has not seen yet."""
    mask: Tensor
    """[b, t] bool, over everything."""
    running: Tensor
    """[b] bool."""
    outputs: list[list[int]]
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    n_steps: int = 0

    @property
    def step(self) -> DecodeStep:
        """What the model is asked next."""
        return DecodeStep(self.key, self.token_ids, self.mask)

    def take(self, chosen: Tensor, *, stop_id: int, pad_id: int, ends: Ends) -> None:
        """Append the chosen tokens [b] to the rows that are still running."""
        running = self.running & (chosen != stop_id)
        for row in running.nonzero().flatten().tolist():
            self.outputs[row].append(int(chosen[row]))
            running[row] = not ends(self.outputs[row])
        self.running = running
        self.token_ids = torch.where(running, chosen, pad_id).unsqueeze(1)
        self.mask = torch.cat([self.mask, running.unsqueeze(1)], dim=1)
        self.n_steps += 1


def greedy_decode(
    chain: Chain,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_id: int,
    pad_id: int,
    ends: Ends = lambda _: False,
    batches: Sequence[Sequence[int]] | None = None,
) -> list[list[int]]:
    """Continue prompts with the likeliest token at each step.

    Args:
        chain: the model.
        prompts: token ids, at least one each, short enough for the model's positions with the new tokens.
        max_new_tokens: most tokens appended to a prompt.
        stop_id: the token that ends a continuation.
        pad_id: fills short prompts up on the left and finished rows on the right; never attended to by real tokens
            of its row.
        ends: whether a continuation is complete with these new tokens.
        batches: places of the prompts that run as rows of one batch; None: all of them together.
    Returns: the new tokens of each prompt, without the stop token.
    Raises:
        BadInputError: a prompt is empty.
    """
    for row, prompt in enumerate(prompts):
        if not prompt:
            raise BadInputError("a prompt has no token", row=row)
    waiting = deque(batches if batches is not None else [range(len(prompts))] if prompts else [])
    outputs: list[list[int]] = [[] for _ in prompts]
    active: list[_Session] = []
    head = uuid.uuid4().hex
    n_head = _run_head(chain, prompts, key=head)
    try:
        while waiting or active:
            while waiting and len(active) < n_threads():
                places = waiting.popleft()
                active.append(_opened(chain, prompts, places, pad_id=pad_id, head=head, n_head=n_head))
            found = chain.stream("decode", [session.step for session in active])
            for session, chosen in zip(active, found, strict=True):
                session.take(chosen, stop_id=stop_id, pad_id=pad_id, ends=ends)
            for session in [one for one in active if one.n_steps == max_new_tokens or not one.running.any()]:
                active.remove(session)
                chain.everywhere("decode_end", session.key)
                for place, tokens in zip(session.places, session.outputs, strict=True):
                    outputs[place] = tokens
    finally:
        for key in (head, *(session.key for session in active)):
            chain.everywhere("decode_end", key)
    return outputs


def _run_head(chain: Chain, prompts: Sequence[Sequence[int]], *, key: str) -> int:
    """Let what all prompts begin with pass the model, if that pays; returns its length, 0 if it was not run."""
    if len(prompts) < 2:
        return 0
    least, most = min(map(tuple, prompts)), max(map(tuple, prompts))
    bound = min(map(len, prompts)) - 1
    n_head = next((place for place in range(bound) if least[place] != most[place]), bound)
    if n_head < MIN_HEAD:
        return 0
    token_ids = torch.tensor([list(least[:n_head])])
    chain.everywhere("decode_begin", key)
    list(chain.stream("decode", [DecodeStep(key, token_ids, torch.ones_like(token_ids, dtype=torch.bool))]))
    return n_head


def _opened(
    chain: Chain, prompts: Sequence[Sequence[int]], places: Sequence[int], *, pad_id: int, head: str, n_head: int
) -> _Session:
    """A batch before its first step, behind the head if that was run."""
    token_ids, mask = _padded_left([prompts[place] for place in places], pad_id)
    running = torch.ones(len(places), dtype=torch.bool)
    session = _Session(places, token_ids[:, n_head:], mask, running, [[] for _ in places])
    if n_head:
        chain.everywhere("decode_behind", head, session.key, (~mask).sum(dim=1))
    return session


def _padded_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """[b, s] int64 ids and bool mask."""
    longest = max(len(prompt) for prompt in prompts)
    token_ids = torch.full((len(prompts), longest), pad_id, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        token_ids[row, longest - len(prompt) :] = torch.tensor(list(prompt), dtype=torch.int64)
    lengths = torch.tensor([len(prompt) for prompt in prompts]).unsqueeze(1)
    return token_ids, torch.arange(longest).unsqueeze(0) >= longest - lengths
