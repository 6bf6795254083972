"""Scores of candidates: from items to batches once, then from batches to log-likelihoods for every variant."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import ModelError
from mlprune.evaluation.batches import PlannedBatch, plan_scoring
from mlprune.evaluation.choices import ChoiceItem
from mlprune.evaluation.predictions import ItemScores, Predictions
from mlprune.evaluation.rules import Likelihoods
from mlprune.models.chain import Chain

__all__ = ["ItemScores", "Predictions", "PreparedTask", "prepare", "run", "run_alone", "score_items"]

Tokens = list[int]


@dataclass(frozen=True)
class PreparedTask:
    """Items cut into batches: what every variant is run on."""

    items: tuple[ChoiceItem, ...]
    token_ids: tuple[tuple[Tokens, ...], ...]
    """For each item and candidate its tokens, special ones included."""
    first_tokens: tuple[tuple[int, ...], ...]
    """For each item and candidate the first scored token of the candidate part, >= 1."""
    batches: tuple[PlannedBatch, ...]
    batch_tokens: int

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """[n_items + 1]: the candidates of item i are rows starts[i] ... starts[i + 1] - 1."""
        sizes = [len(item.texts) for item in self.items]
        return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)


def prepare(
    tokenizer: Any, items: Sequence[ChoiceItem], *, batch_tokens: int, max_positions: int | None
) -> PreparedTask:
    """Tokenise the texts, each whole and with the tokenizer's default special tokens, and plan their batches.

    The candidate part begins with the first token that holds a character of it.

    Raises:
        TaskFileError: a text has fewer than two tokens or more than `max_positions`.
        ModelError: the tokenizer does not say which characters a token stands for, and candidates begin within texts.
    """
    token_ids, first_tokens = _tokenised(tokenizer, items)
    plan = plan_scoring(
        token_ids,
        batch_tokens=batch_tokens,
        max_positions=max_positions,
        example_ids=[item.example_id for item in items],
    )
    return PreparedTask(tuple(items), tuple(token_ids), tuple(first_tokens), tuple(plan), batch_tokens)


def _tokenised(tokenizer: Any, items: Sequence[ChoiceItem]) -> tuple[list[tuple[Tokens, ...]], list[tuple[int, ...]]]:
    """Tokens of every text, and where its candidate part begins among them."""
    texts = [text for item in items for text in item.texts]
    if not texts:
        return [], []
    has_parts = any(start > 0 for item in items for start in item.starts)
    if has_parts and not tokenizer.is_fast:
        raise ModelError("the tokenizer knows no character offsets", expected="a tokenizer.json", got="a slow one")
    encoded = tokenizer(texts, truncation=False, verbose=False, return_offsets_mapping=has_parts)
    tokens = iter(encoded["input_ids"])
    token_ids = [tuple(next(tokens) for _ in item.texts) for item in items]
    if not has_parts:
        return token_ids, [(1,) * len(item.texts) for item in items]
    offsets = iter(encoded["offset_mapping"])
    return token_ids, [
        tuple(_first_token(next(offsets), start) for start in item.starts or (0,) * len(item.texts)) for item in items
    ]


def _first_token(offsets: Sequence[tuple[int, int]], start: int) -> int:
    """The first token with a character from `start` on; never the text's first, which is not scored."""
    place = next((place for place, (begin, end) in enumerate(offsets) if end > max(begin, start)), len(offsets) - 1)
    return max(1, place)


def run(chain: Chain, prepared: PreparedTask) -> ItemScores:
    """Score all candidates with the model as the chain holds it now."""
    n_rows = int(prepared.starts[-1])
    sums = np.full((2, n_rows), np.nan)
    counts = np.zeros((2, n_rows), dtype=np.int64)
    scores = chain.stream("score", (planned.batch for planned in prepared.batches))
    for planned, scored in zip(prepared.batches, scores, strict=True):
        places = [int(prepared.starts[example]) + candidate for example, candidate in planned.rows]
        firsts = np.array([prepared.first_tokens[example][candidate] for example, candidate in planned.rows])
        n_tokens = scored.n_tokens.numpy()
        sums[:, places] = scored.log_likelihoods.numpy(), _part_sums(planned, scored, firsts)
        counts[:, places] = n_tokens, n_tokens + 1 - firsts
    return ItemScores(prepared.starts, Likelihoods(sums[0], counts[0], sums[1], counts[1], np.full(n_rows, np.nan)))


def _part_sums(planned: PlannedBatch, scored: Any, firsts: NDArray[np.int64]) -> NDArray[np.float64]:
    """[n] log-probabilities of each row's tokens from its first one of the candidate part on."""
    within, behind = scored.prefix_log_probs.numpy(), scored.suffix_log_probs.numpy()
    length = planned.batch.prefix_ids.shape[1]
    in_suffix = np.arange(length, length + behind.shape[1]) >= firsts[:, None]
    sums = np.where(in_suffix, behind, 0.0).sum(axis=1)
    if (firsts < length).any():
        in_prefix = np.arange(1, length) >= firsts[:, None]
        sums = sums + np.where(in_prefix, within[planned.batch.parent.numpy()], 0.0).sum(axis=1)
    return np.asarray(sums)


def run_alone(chain: Chain, tokenizer: Any, prepared: PreparedTask) -> NDArray[np.float64]:
    """[rows] log-likelihoods of the scored tokens of each candidate part behind nothing but a start token.

    The start token is what the tokenizer makes of an empty text, else its first-of-sequence token, else its E. The
    tokens are those of the whole text, so the two log-likelihoods are of the same tokens. Parts that occur often are
    scored once.

    Raises:
        ModelError: the tokenizer has no such token.
    """
    start = _start_token(tokenizer)
    pairs = zip(prepared.token_ids, prepared.first_tokens, strict=True)
    wanted = [(start, *tokens[first:]) for texts, firsts in pairs for tokens, first in zip(texts, firsts, strict=True)]
    distinct = sorted(set(wanted))
    plan = plan_scoring([[list(tokens)] for tokens in distinct], batch_tokens=prepared.batch_tokens)
    values: dict[tuple[int, ...], float] = {}
    for planned, scored in zip(plan, chain.stream("score", (one.batch for one in plan)), strict=True):
        for (place, _), value in zip(planned.rows, scored.log_likelihoods.tolist(), strict=True):
            values[distinct[place]] = value
    return np.array([values[tokens] for tokens in wanted], dtype=np.float64)


def _start_token(tokenizer: Any) -> int:
    around = [*tokenizer("")["input_ids"], tokenizer.bos_token_id, tokenizer.eos_token_id]
    found = next((token for token in around if token is not None), None)
    if found is None:
        raise ModelError("the tokenizer has no token to start with", expected="a bos_token or eos_token", got=None)
    return int(found)


def score_items(
    chain: Chain, tokenizer: Any, items: Sequence[ChoiceItem], *, batch_tokens: int, max_positions: int | None
) -> ItemScores:
    """`prepare` and `run` in one, for items that are scored once."""
    return run(chain, prepare(tokenizer, items, batch_tokens=batch_tokens, max_positions=max_positions))
