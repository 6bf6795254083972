"""Decoding, greedy or with drawn tokens: several batches of prompts at once, with shared prefixes.

The model runs the shared prefix (a few-shot header) once. Its keys and values are copied to the rows of each batch,
shifted to the start of each prompt, so that a row has no padding between its tokens: blocks with a sliding window count
positions, not tokens. As many batches are decoded at once as the process has threads.

The states of recurrent blocks are not per token and include padding. Recurrent models decode prompts of one length
together, without a shared prefix. Models without the library's cache also run the whole text for every new token.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlprune.errors import BadInputError
from mlprune.models.chain import Chain
from mlprune.models.messages import DecodeStep, States, TokenDraw
from mlprune.models.placement.budget import GroupLimit
from mlprune.models.shard import Shard
from mlprune.numeric.log_probs import draw_tokens, uniform_number
from mlprune.processes.job_parts import job_parts
from mlprune.processes.parallel import n_threads

if TYPE_CHECKING:
    from transformers import DynamicCache

    from mlprune.models.inference.block_runner import BlockRunner

MIN_PREFIX = 16
"""Minimum length of a shared prefix; shorter ones are computed with each prompt."""


@dataclass(frozen=True)
class StoppingCriteria:
    """When the continuation of a prompt ends."""

    max_new_tokens: int
    """Most tokens that are appended to a prompt."""
    stop_id: int
    """The token that ends a continuation and is not part of it; -1 if no token does."""
    ends: Callable[[Sequence[int]], bool] = lambda _: False
    """Whether a continuation is complete with these new tokens."""


@dataclass(frozen=True)
class Sampling:
    """How the tokens of all texts are drawn."""

    seed: int
    temperature: float
    """0: the likeliest token."""
    banned: tuple[int, ...] = ()
    """Tokens that are never drawn."""

    def draw(self, texts: Sequence[int], position: int) -> TokenDraw:
        """Return the draw of the tokens at one position of some texts."""
        uniforms = tuple(uniform_number(self.seed, text, position) for text in texts) if self.temperature else ()
        return TokenDraw(uniforms, self.temperature, self.banned)


@dataclass
class DecodingVisitor:
    """Run the next tokens of a session on top of its caches; the result is the next token of each row, [b] int64.

    Scale and cap of the logits are ignored if the likeliest token is chosen: they do not change which logit is highest.
    """

    step: DecodeStep

    needs_head = True

    def start(self, runner: BlockRunner) -> States:
        """Embed the new tokens. The model's code gets a mask only if a token is padding."""
        step = self.step
        positions = (step.attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, -step.token_ids.shape[1] :]
        cache = self._cache(runner)
        needs_mask = not runner.architecture.runs_whole_texts and not step.attention_mask.all()
        mask = step.attention_mask if needs_mask else None
        states = runner.embed(step.token_ids, mask, cache=cache, positions=positions)
        if cache is not None:
            runner.caches.pad_remote_lengths(cache, *step.token_ids.shape)
        return (states,)

    def needs_block(self, block: int) -> bool:
        """Return True: all blocks run."""
        return True

    def visit(self, runner: BlockRunner, block: int, states: States) -> States:
        """Run one block, which extends its cache."""
        return (runner.step(block, states[0], self._cache(runner)),)

    def _cache(self, runner: BlockRunner) -> DynamicCache | None:
        """Return the cache of the session; None if the model does not take one."""
        return runner.caches.session(self.step.key) if runner.architecture.has_cache else None

    def leave_shard(self) -> None:
        """Do nothing: nothing is observed before the head."""

    def finish(self, runner: BlockRunner, states: States) -> Tensor:
        """Return the likeliest or the drawn next token of each row."""
        logits: Tensor = runner.head(runner.apply_final_norm(states[0].hidden[:, -1]))
        draw = self.step.draw
        if draw is None:
            return runner.without_removed(logits.float()).argmax(dim=1).cpu()
        logits = runner.without_removed(runner.logits_of(logits.float()))
        return draw_tokens(logits, draw.uniforms, temperature=draw.temperature, banned=draw.banned)

    def waiting_bytes(self, limit: GroupLimit) -> int:
        """Return 0: the states of one token per row are negligible."""
        return 0


@dataclass
class _Session:
    """A batch of prompts that is being decoded."""

    prompts: Sequence[int]
    """Indices of its prompts."""
    token_ids: Tensor
    """[b, s] int64, the tokens that the model runs next."""
    mask: Tensor
    """[b, t] bool, over all tokens."""
    running: Tensor
    """[b] bool, True for rows whose continuation is not complete."""
    outputs: list[list[int]]
    sampling: Sampling | None = None
    has_cache: bool = True
    """Whether the model keeps the tokens that it has seen; otherwise every step runs all tokens."""
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    n_steps: int = 0

    @property
    def step(self) -> DecodeStep:
        """The next input of the model."""
        draw = self.sampling.draw(self.prompts, self.n_steps) if self.sampling else None
        return DecodeStep(self.key, self.token_ids, self.mask, draw)

    def append(self, chosen: Tensor, stopping: StoppingCriteria, *, pad_id: int) -> None:
        """Append the chosen tokens [b] to the rows that are still running."""
        running = self.running & (chosen != stopping.stop_id)
        for row in running.nonzero().flatten().tolist():
            self.outputs[row].append(int(chosen[row]))
            running[row] = not stopping.ends(self.outputs[row])
        self.running = running
        new = torch.where(running, chosen, pad_id).unsqueeze(1)
        self.token_ids = new if self.has_cache else torch.cat([self.token_ids, new], dim=1)
        self.mask = torch.cat([self.mask, running.unsqueeze(1)], dim=1)
        self.n_steps += 1


def decode(
    chain: Chain,
    prompts: Sequence[Sequence[int]],
    stopping: StoppingCriteria,
    *,
    pad_id: int,
    batches: Sequence[Sequence[int]] | None = None,
    sampling: Sampling | None = None,
) -> list[list[int]]:
    """Continue prompts with the likeliest or a drawn token at each step.

    Args:
        chain: the model.
        prompts: token ids, at least one each; with the new tokens they must fit in the model's positions.
        stopping: when a continuation ends.
        pad_id: pads short prompts on the left and finished rows on the right; real tokens never attend to it.
        batches: for each batch, the indices of its prompts; by default all prompts are one batch.
        sampling: how tokens are drawn, keyed by the index of the prompt; None: the likeliest ones.
    Returns: the new tokens of each prompt, without the stop token.
    Raises:
        BadInputError: a prompt is empty.
    """
    for row, prompt in enumerate(prompts):
        if not prompt:
            raise BadInputError("a prompt has no token", row=row)
    waiting_batches = deque(batches if batches is not None else [range(len(prompts))] if prompts else [])
    architecture = chain.on_block(0, Shard.architecture)
    if architecture.runs_whole_texts:
        waiting_batches = deque(part for batch in waiting_batches for part in _of_one_length(batch, prompts))
    outputs: list[list[int]] = [[] for _ in prompts]
    active: list[_Session] = []
    prefix_key = uuid.uuid4().hex
    prefix_length = 0 if architecture.runs_whole_texts else _run_prefix(chain, prompts, key=prefix_key)
    try:
        with job_parts("text", len(prompts)) as done:
            while waiting_batches or active:
                while waiting_batches and len(active) < n_threads():
                    rows = waiting_batches.popleft()
                    prefix = prefix_key, prefix_length
                    session = _open_session(chain, prompts, rows, pad_id=pad_id, prefix=prefix)
                    active.append(replace(session, sampling=sampling, has_cache=architecture.has_cache))
                steps = chain.stream(DecodingVisitor, [session.step for session in active])
                for session, chosen in zip(active, steps, strict=True):
                    session.append(chosen, stopping, pad_id=pad_id)
                ended = [one for one in active if one.n_steps == stopping.max_new_tokens or not one.running.any()]
                for session in ended:
                    active.remove(session)
                    chain.everywhere(Shard.end_session, session.key)
                    for prompt_index, tokens in zip(session.prompts, session.outputs, strict=True):
                        outputs[prompt_index] = tokens
                    done(len(session.prompts))
    finally:
        for key in (prefix_key, *(session.key for session in active)):
            chain.everywhere(Shard.end_session, key)
    return outputs


def _of_one_length(batch: Sequence[int], prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Divide a batch into parts whose prompts have the same length."""
    parts: dict[int, list[int]] = {}
    for row in batch:
        parts.setdefault(len(prompts[row]), []).append(row)
    return list(parts.values())


def _run_prefix(chain: Chain, prompts: Sequence[Sequence[int]], *, key: str) -> int:
    """Run the prefix that all prompts share, if it is long enough; return its length, or 0 if it was not run."""
    if len(prompts) < 2:
        return 0
    smallest, largest = min(map(tuple, prompts)), max(map(tuple, prompts))
    bound = min(map(len, prompts)) - 1
    length = next((index for index in range(bound) if smallest[index] != largest[index]), bound)
    if length < MIN_PREFIX:
        return 0
    token_ids = torch.tensor([list(smallest[:length])])
    chain.everywhere(Shard.begin_prefix, key)
    list(chain.stream(DecodingVisitor, [DecodeStep(key, token_ids, torch.ones_like(token_ids, dtype=torch.bool))]))
    return length


def _open_session(
    chain: Chain,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[int],
    *,
    pad_id: int,
    prefix: tuple[str, int],
) -> _Session:
    """Begin the session of a batch; it continues the shared prefix, if the model has run it."""
    prefix_key, prefix_length = prefix
    token_ids, mask = _padded_left([prompts[row] for row in rows], pad_id)
    running = torch.ones(len(rows), dtype=torch.bool)
    session = _Session(rows, token_ids[:, prefix_length:], mask, running, [[] for _ in rows])
    if prefix_length:
        chain.everywhere(Shard.continue_prefix, prefix_key, session.key, (~mask).sum(dim=1))
    return session


def _padded_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return token ids [b, s] int64 and mask [b, s] bool, padded on the left."""
    longest = max(len(prompt) for prompt in prompts)
    token_ids = torch.full((len(prompts), longest), pad_id, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        token_ids[row, longest - len(prompt) :] = torch.tensor(list(prompt), dtype=torch.int64)
    lengths = torch.tensor([len(prompt) for prompt in prompts]).unsqueeze(1)
    return token_ids, torch.arange(longest).unsqueeze(0) >= longest - lengths
