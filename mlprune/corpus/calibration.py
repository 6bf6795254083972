"""Tokenised demonstrations and their batches: the one owner of padding, special tokens and attention masks."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from mlprune.corpus.demonstrations import Demonstration
from mlprune.errors import CorpusError
from mlprune.models.payloads import TokenBatch

SCHEMA = {
    "demonstration": "int32",
    "kind": "string",
    "token_ids": "list<int32>",
    "sentence_ids": "list<int64>",
    "text": "string",
}
"""Columns of a demonstration set's artefact."""


def tokenised(tokenizer: Any, text: str, *, max_tokens: int) -> list[int]:
    """One text in one call: default special tokens, cut on the right to `max_tokens` including them."""
    return list(tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"])


def demonstration_columns(
    demonstrations: Sequence[Demonstration], tokenizer: Any, *, max_tokens: int
) -> dict[str, list[Any]]:
    """The artefact of a demonstration set: one row a demonstration, in order.

    Raises:
        CorpusError: a demonstration has no tokens.
    """
    tokenizer.truncation_side = "right"
    token_ids = [tokenised(tokenizer, one.text, max_tokens=max_tokens) for one in demonstrations]
    for index, ids in enumerate(token_ids):
        if not ids:
            raise CorpusError("a demonstration has no tokens", demonstration=index, kind=demonstrations[index].kind)
    return {
        "demonstration": list(range(len(demonstrations))),
        "kind": [one.kind for one in demonstrations],
        "token_ids": token_ids,
        "sentence_ids": [list(one.sentence_ids) for one in demonstrations],
        "text": [one.text for one in demonstrations],
    }


def token_batches(token_ids: Sequence[Sequence[int]], *, batch_tokens: int) -> Iterator[TokenBatch]:
    """Batches of whole demonstrations in order, padded on the right, at most `batch_tokens` with padding.

    A demonstration longer than that is a batch of its own. All real tokens count in the statistics.
    """
    waiting: list[Sequence[int]] = []
    for row in token_ids:
        longest = max(len(ids) for ids in [*waiting, row])
        if waiting and longest * (len(waiting) + 1) > batch_tokens:
            yield padded(waiting)
            waiting = []
        waiting.append(row)
    if waiting:
        yield padded(waiting)


def padded(rows: Sequence[Sequence[int]]) -> TokenBatch:
    """Token ids of unequal length as one [n, longest] batch; padding carries id 0 and is masked everywhere."""
    longest = max(len(row) for row in rows)
    token_ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    real = torch.zeros(len(rows), longest, dtype=torch.bool)
    for index, row in enumerate(rows):
        token_ids[index, : len(row)] = torch.as_tensor(row, dtype=torch.int64)
        real[index, : len(row)] = True
    return TokenBatch(token_ids=token_ids, attention_mask=real, counted=real)
