"""Tokenised demonstrations and their batches: padding, special tokens and attention masks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import torch

from mlprune.corpus.demonstrations import (
    NO_SHOT,
    NO_SIDE,
    Demonstration,
    check_scope,
    scope_mask,
    scopes_of,
    token_roles,
)
from mlprune.errors import CorpusError
from mlprune.models.messages import TokenBatch
from mlprune.vocabulary import LongerDemonstration, ProfileName, TokenScope

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedTokenizerBase

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

`sides` and `shots` have one entry per token. Side: 1 for the source or the only side, 2 for the target, 0 for neither.
Shot: from 0, or -1 for none. With profile `paper` the token ids include padding, which counts there.
"""


@dataclass(frozen=True)
class SetLimits:
    """Sizes that a demonstration set has to fit."""

    max_tokens: int
    """Most tokens of a demonstration."""
    token_budget: int | None = None
    """Tokens of all demonstrations together; the demonstration that exceeds it is cut on the right. None: no budget."""
    samples: int | None = None
    """Most demonstrations; None for all."""


class DemonstrationColumns(TypedDict):
    """Columns of `SCHEMA`."""

    demonstration: list[int]
    kind: list[str]
    profile: list[str]
    token_ids: list[list[int]]
    sides: list[list[int]]
    shots: list[list[int]]
    sentence_ids: list[list[int]]
    text: list[str]


@dataclass(frozen=True)
class Tokens:
    """The tokens of one demonstration with their sides and shots; all three have the same length."""

    ids: list[int]
    sides: list[int]
    shots: list[int]

    def cut(self, n: int) -> "Tokens":
        """The first n tokens."""
        return Tokens(self.ids[:n], self.sides[:n], self.shots[:n])


def tokenise(
    tokenizer: "PreTrainedTokenizerBase",
    demonstration: Demonstration,
    *,
    max_tokens: int,
    cut: Literal["left", "right"] = "right",
) -> Tokens:
    """Tokenise a demonstration in one call, with default special tokens, cut on one side to `max_tokens` in total.

    A chat contains its special tokens already.

    Raises:
        CorpusError: the tokenizer does not give the characters of a token.
    """
    encoding = _encode(tokenizer, demonstration, max_tokens=max_tokens, cut=cut)
    sides, shots = token_roles(
        demonstration.pieces, encoding["offset_mapping"], special=encoding["special_tokens_mask"]
    )
    return Tokens(list(encoding["input_ids"]), sides, shots)


def loses_target(tokenizer: "PreTrainedTokenizerBase", demonstration: Demonstration, *, max_tokens: int) -> bool:
    """Whether a demonstration with targets has no token of any of them when its end is cut off at `max_tokens`.

    As in `token_roles`, a token belongs to the part with its last character.

    Raises:
        CorpusError: the tokenizer does not give the characters of a token.
    """
    start = demonstration.target_start
    if start is None:
        return False
    encoding = _encode(tokenizer, demonstration, max_tokens=max_tokens, cut="right")
    roles = zip(encoding["offset_mapping"], encoding["special_tokens_mask"], strict=True)
    return all(is_special or max(end - 1, 0) < start for (_, end), is_special in roles)


def _encode(
    tokenizer: "PreTrainedTokenizerBase",
    demonstration: Demonstration,
    *,
    max_tokens: int,
    cut: Literal["left", "right"],
) -> "BatchEncoding":
    if not tokenizer.is_fast:
        raise CorpusError("the tokenizer has no character offsets", expected="a tokenizer.json", got="a slow tokenizer")
    tokenizer.truncation_side = cut
    return tokenizer(
        demonstration.text,
        truncation=True,
        max_length=max_tokens,
        add_special_tokens=not demonstration.has_special_tokens,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )


def _is_longer(tokenizer: "PreTrainedTokenizerBase", demonstration: Demonstration, max_tokens: int) -> bool:
    adds = not demonstration.has_special_tokens
    encoding = tokenizer(demonstration.text, truncation=False, verbose=False, add_special_tokens=adds)
    return len(encoding["input_ids"]) > max_tokens


@dataclass
class LongerDemonstrations:
    """What happens to demonstrations of more than `max_tokens`, and how many there are."""

    how: LongerDemonstration = "truncate_right"
    n: int = 0
    """Number of those that were read; not counted if their end is cut off."""
    n_read: int = 0
    """Number of demonstrations that were read, with those that are skipped."""
    kept: list[int] = field(default_factory=list)
    """Numbers of the demonstrations that are not skipped, in the order of reading, from 0."""

    def tokens(
        self, tokenizer: "PreTrainedTokenizerBase", demonstration: Demonstration, *, max_tokens: int
    ) -> Tokens | None:
        """Return the tokens of a demonstration; None if it is skipped.

        Raises:
            CorpusError: it has more than `max_tokens`, and that is refused.
        """
        self.n_read += 1
        if self.how != "truncate_right" and _is_longer(tokenizer, demonstration, max_tokens):
            self.n += 1
            if self.how == "skip":
                return None
            if self.how == "refuse":
                context = {"demonstration": self.n_read - 1, "expected": f"at most {max_tokens} tokens (max_tokens)"}
                message = "a demonstration is longer than max_tokens"
                raise CorpusError(message, context, got="more", next="choose another value of longer")
        self.kept.append(self.n_read - 1)
        cut: Literal["left", "right"] = "left" if self.how == "truncate_left" else "right"
        return tokenise(tokenizer, demonstration, max_tokens=max_tokens, cut=cut)


def demonstration_columns(
    demonstrations: Iterable[Demonstration],
    tokenizer: "PreTrainedTokenizerBase",
    limits: SetLimits,
    *,
    profile: ProfileName = "corrected",
    longer: LongerDemonstrations | None = None,
) -> DemonstrationColumns:
    """The artefact of a demonstration set: one row per demonstration, in order.

    Args:
        demonstrations: only as many are read as the budget and the number of samples take.
        longer: what happens to demonstrations of more than `max_tokens`; counts them. None to cut their end off.
        profile: `paper` pads every demonstration to `max_tokens` and stores the padding, as the published code does.
    Raises:
        CorpusError: a demonstration has no tokens, or is too long if that is refused; or all together have fewer than
            the budget.
    """
    longer = longer or LongerDemonstrations()
    max_tokens, token_budget = limits.max_tokens, limits.token_budget
    rows: list[tuple[Demonstration, Tokens]] = []
    n_tokens = 0
    for demonstration in demonstrations:
        tokens = longer.tokens(tokenizer, demonstration, max_tokens=max_tokens)
        if tokens is None:
            continue
        if not tokens.ids:
            raise CorpusError("a demonstration has no tokens", demonstration=len(rows), kind=demonstration.kind)
        if token_budget is not None:
            tokens = tokens.cut(token_budget - n_tokens)
        n_tokens += len(tokens.ids)
        if profile == "paper":
            tokens = _pad_as_published(tokens, tokenizer, max_tokens)
        rows.append((demonstration, tokens))
        if n_tokens == token_budget or len(rows) == limits.samples:
            break
    if token_budget is not None and n_tokens < token_budget:
        expected = f"{token_budget} tokens (token_budget)"
        raise CorpusError("the corpus is too short", expected=expected, got=f"{n_tokens} tokens")
    return _columns(rows, profile)


def cut_to_budget(columns: DemonstrationColumns, token_budget: int) -> DemonstrationColumns:
    """Cut tokens from the end of a set until it has exactly as many as the budget.

    The last demonstration is cut on the right to at least one token, and if that is not enough, the one before it.

    Raises:
        CorpusError: the set has fewer tokens than the budget.
    """
    lengths = [len(ids) for ids in columns["token_ids"]]
    excess = sum(lengths) - token_budget
    if excess < 0:
        expected, got = f"{token_budget} tokens (token_budget)", f"{sum(lengths)} tokens"
        raise CorpusError("the corpus is too short", expected=expected, got=got)
    for index in reversed(range(len(lengths))):
        n_cut = min(excess, lengths[index] - 1)
        lengths[index] -= n_cut
        excess -= n_cut
    cut = columns.copy()
    for name in ("token_ids", "sides", "shots"):
        cut[name] = [values[:n] for values, n in zip(columns[name], lengths, strict=True)]
    return cut


def _columns(rows: Sequence[tuple[Demonstration, Tokens]], profile: ProfileName) -> DemonstrationColumns:
    return {
        "demonstration": list(range(len(rows))),
        "kind": [demonstration.kind for demonstration, _ in rows],
        "profile": [profile] * len(rows),
        "token_ids": [tokens.ids for _, tokens in rows],
        "sides": [tokens.sides for _, tokens in rows],
        "shots": [tokens.shots for _, tokens in rows],
        "sentence_ids": [list(demonstration.sentence_ids) for demonstration, _ in rows],
        "text": [demonstration.text for demonstration, _ in rows],
    }


def _pad_as_published(tokens: Tokens, tokenizer: "PreTrainedTokenizerBase", max_tokens: int) -> Tokens:
    """Pad on the tokenizer's side with its padding token, or with the end-of-sequence token if it has none."""
    n = max_tokens - len(tokens.ids)
    token = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    padding = Tokens([token] * n, [NO_SIDE] * n, [NO_SHOT] * n)
    first, second = (padding, tokens) if tokenizer.padding_side == "left" else (tokens, padding)
    return Tokens(first.ids + second.ids, first.sides + second.sides, first.shots + second.shots)


def counted_tokens(columns: Mapping[str, Sequence[Any]], scope: TokenScope) -> list[list[bool]]:
    """Flags of the tokens of each demonstration that count in the statistics.

    `all` counts every token, and `content` those of the shots. `source` and `target` count the tokens of that side,
    with its label and the end-of-sequence token. `last_shot` counts those of the last shot that has tokens. A
    demonstration that was cut before its target has no target tokens.

    Args:
        columns: of `SCHEMA`, as stored, or some of their rows. For `all` the token ids suffice.
    Returns: for each demonstration, a list as long as its token ids.
    Raises:
        CorpusError: the scope has no meaning for the kind or profile of a demonstration, or no token is counted.
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
    """Batches of whole demonstrations, longest first, each with the indices of its demonstrations in `token_ids`.

    Demonstrations of similar length share a batch, so that little of it is padding. Demonstrations of equal length stay
    in order. A batch has at most `batch_tokens` with padding; a longer demonstration is a batch of its own.

    Args:
        counted: flags from `counted_tokens`. Without them all tokens count.
    """
    order = sorted(range(len(token_ids)), key=lambda index: (-len(token_ids[index]), index))
    start = 0
    while start < len(order):
        n = max(1, batch_tokens // len(token_ids[order[start]]))
        indices = tuple(order[start : start + n])
        batch_counted = None if counted is None else [counted[index] for index in indices]
        yield indices, pad_batch([token_ids[index] for index in indices], counted=batch_counted)
        start += n


def pad_batch(rows: Sequence[Sequence[int]], *, counted: Sequence[Sequence[bool]] | None = None) -> TokenBatch:
    """Token ids of unequal length as one [n, longest] batch. Padding has id 0 and is masked everywhere."""
    longest = max(len(row) for row in rows)
    token_ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    attention_mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for index, row in enumerate(rows):
        token_ids[index, : len(row)] = torch.as_tensor(row, dtype=torch.int64)
        attention_mask[index, : len(row)] = True
    counted_mask = attention_mask
    if counted is not None:
        counted_mask = torch.zeros_like(attention_mask)
        for index, flags in enumerate(counted):
            counted_mask[index, : len(flags)] = torch.as_tensor(flags, dtype=torch.bool)
    return TokenBatch(token_ids=token_ids, attention_mask=attention_mask, counted=counted_mask)
