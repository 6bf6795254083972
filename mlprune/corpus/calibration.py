"""Tokenised demonstrations and their batches: the one owner of padding, special tokens and attention masks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mlprune.corpus.demonstrations import Demonstration
from mlprune.corpus.token_roles import NO_SHOT, NO_SIDE, check_scope, scope_mask, scopes_of, token_roles
from mlprune.errors import CorpusError
from mlprune.models.messages import TokenBatch
from mlprune.vocabulary import ProfileName, TokenScope

SCHEMA = {
    "demonstration": "int32",
    "kind": "string",
    "profile": "string",
    "token_ids": "list<int32>",
    "sides": "list<int8>",
    "shots": "list<int32>",
    "sentence_ids": "list<int64>",
    "text": "string",
}
"""Columns of a demonstration set's artefact.

`sides` and `shots` say of every token whose it is (`roles.py`): 1 the source or only side, 2 the target, 0 neither;
and the shot from 0, -1 none. In the profile `paper` the token ids hold the padding, which counts there.
"""


@dataclass(frozen=True)
class Tokens:
    """The tokens of one demonstration and their roles, equally long."""

    ids: list[int]
    sides: list[int]
    shots: list[int]

    def cut(self, n: int) -> "Tokens":
        """The first n of them."""
        return Tokens(self.ids[:n], self.sides[:n], self.shots[:n])


def tokenise(tokenizer: Any, demonstration: Demonstration, *, max_tokens: int) -> Tokens:
    """One text in one call: default special tokens, cut on the right to `max_tokens` including them.

    Raises:
        CorpusError: the tokenizer does not say which characters a token stands for.
    """
    if not tokenizer.is_fast:
        raise CorpusError("the tokenizer knows no character offsets", expected="a tokenizer.json", got="a slow one")
    tokenizer.truncation_side = "right"
    found = tokenizer(
        demonstration.text,
        truncation=True,
        max_length=max_tokens,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    sides, shots = token_roles(demonstration.pieces, found["offset_mapping"], special=found["special_tokens_mask"])
    return Tokens(list(found["input_ids"]), sides, shots)


def demonstration_columns(
    demonstrations: Iterable[Demonstration],
    tokenizer: Any,
    *,
    max_tokens: int,
    token_budget: int | None = None,
    profile: ProfileName = "corrected",
) -> dict[str, list[Any]]:
    """The artefact of a demonstration set: one row a demonstration, in order.

    Args:
        demonstrations: with a budget, no more of them are taken than it needs.
        token_budget: tokens of all demonstrations together; the one that reaches it is cut on the right to hit it.
        profile: `paper` pads all to `max_tokens` and stores the padding, as the published code does.
    Raises:
        CorpusError: a demonstration has no tokens, or all together have fewer than the budget.
    """
    kept: list[tuple[Demonstration, Tokens]] = []
    n_tokens = 0
    for one in demonstrations:
        tokens = tokenise(tokenizer, one, max_tokens=max_tokens)
        if not tokens.ids:
            raise CorpusError("a demonstration has no tokens", demonstration=len(kept), kind=one.kind)
        if token_budget is not None:
            tokens = tokens.cut(token_budget - n_tokens)
        n_tokens += len(tokens.ids)
        kept.append((one, _padded_as_published(tokens, tokenizer, max_tokens) if profile == "paper" else tokens))
        if n_tokens == token_budget:
            break
    if token_budget is not None and n_tokens < token_budget:
        expected = f"{token_budget} tokens (token_budget)"
        raise CorpusError("the corpus is too short", expected=expected, got=f"{n_tokens} tokens")
    return _columns(kept, profile)


def _columns(kept: Sequence[tuple[Demonstration, Tokens]], profile: ProfileName) -> dict[str, list[Any]]:
    return {
        "demonstration": list(range(len(kept))),
        "kind": [one.kind for one, _ in kept],
        "profile": [profile] * len(kept),
        "token_ids": [tokens.ids for _, tokens in kept],
        "sides": [tokens.sides for _, tokens in kept],
        "shots": [tokens.shots for _, tokens in kept],
        "sentence_ids": [list(one.sentence_ids) for one, _ in kept],
        "text": [one.text for one, _ in kept],
    }


def _padded_as_published(tokens: Tokens, tokenizer: Any, max_tokens: int) -> Tokens:
    """The tokens and padding, on the tokenizer's side: its padding token, or E where it has none."""
    n = max_tokens - len(tokens.ids)
    token = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    padding = Tokens([token] * n, [NO_SIDE] * n, [NO_SHOT] * n)
    first, second = (padding, tokens) if tokenizer.padding_side == "left" else (tokens, padding)
    return Tokens(first.ids + second.ids, first.sides + second.sides, first.shots + second.shots)


def counted_tokens(columns: Mapping[str, Sequence[Any]], scope: TokenScope) -> list[list[bool]]:
    """Which tokens of each demonstration count in the statistics.

    `all` counts every token there is; `source` and `target` those of that side, its label and E included; `last_shot`
    those of the last shot that has tokens. A demonstration that was cut before its target has none of those.

    Args:
        columns: of `SCHEMA`, as stored, or some rows of them; for `all` the token ids are enough.
    Returns: one list of token_ids' length for each demonstration.
    Raises:
        CorpusError: a demonstration is of a kind or profile that does not know the scope, or no token is counted.
    """
    if scope == "all":
        return [[True] * len(ids) for ids in columns["token_ids"]]
    for kind, profile in dict.fromkeys(zip(columns["kind"], columns["profile"], strict=True)):
        check_scope(kind, scope, profile=profile, known=scopes_of(kind))
    rows = zip(columns["sides"], columns["shots"], strict=True)
    counted: list[list[bool]] = [scope_mask(sides, shots, scope=scope).tolist() for sides, shots in rows]
    if not any(any(row) for row in counted):
        kinds = sorted(set(columns["kind"]))
        raise CorpusError("no demonstration has tokens of this scope", kind=kinds, token_scope=scope, got=0)
    return counted


def token_batches(
    token_ids: Sequence[Sequence[int]], *, batch_tokens: int, counted: Sequence[Sequence[bool]] | None = None
) -> Iterator[tuple[tuple[int, ...], TokenBatch]]:
    """Batches of whole demonstrations, longest first, with the places of their demonstrations in `token_ids`.

    Demonstrations of similar length share a batch, so that little of it is padding; equal ones stay in order. A batch
    has at most `batch_tokens` with padding; a demonstration longer than that is a batch of its own.

    Args:
        counted: as `counted_tokens` gives it; without it all tokens count.
    """
    order = sorted(range(len(token_ids)), key=lambda index: (-len(token_ids[index]), index))
    start = 0
    while start < len(order):
        n = max(1, batch_tokens // len(token_ids[order[start]]))
        indices = tuple(order[start : start + n])
        own = None if counted is None else [counted[index] for index in indices]
        yield indices, pad_batch([token_ids[index] for index in indices], counted=own)
        start += n


def pad_batch(rows: Sequence[Sequence[int]], *, counted: Sequence[Sequence[bool]] | None = None) -> TokenBatch:
    """Token ids of unequal length as one [n, longest] batch; padding carries id 0 and is masked everywhere."""
    longest = max(len(row) for row in rows)
    token_ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    real = torch.zeros(len(rows), longest, dtype=torch.bool)
    for index, row in enumerate(rows):
        token_ids[index, : len(row)] = torch.as_tensor(row, dtype=torch.int64)
        real[index, : len(row)] = True
    counts = real
    if counted is not None:
        counts = torch.zeros_like(real)
        for index, flags in enumerate(counted):
            counts[index, : len(flags)] = torch.as_tensor(flags, dtype=torch.bool)
    return TokenBatch(token_ids=token_ids, attention_mask=real, counted=counts)
