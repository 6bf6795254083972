"""Choice of the tokens that a smaller vocabulary keeps, from counts of tokens in the texts of some languages."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlprune.errors import BadInputError
from mlprune.hashing import ordered_by_hash
from mlprune.trimming.tokenizer_json import TokenizerJson
from mlprune.vocabulary import TokenScoreName

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENCODED_TOGETHER = 1000
"""Lines in memory as tokens."""


@dataclass(frozen=True)
class TokenChoice:
    """Which counted tokens are kept. At most one of the three limits is set; without one, every counted token is."""

    score: TokenScoreName = "frequency"
    at_least: int | None = None
    """Least score of a kept token."""
    share: float | None = None
    """Share of the sum of all scores that the kept tokens reach, in (0, 1]."""
    size: int | None = None
    """Tokens of the vocabulary, with those that are always kept and those that others are built from. Tokens that no
    text has come last, the lowest id first: BPE gives frequent tokens low ids."""
    seed: int = 0
    """Of score random."""


def encoded(tokenizer: "PreTrainedTokenizerBase", lines: Sequence[str]) -> Iterable[list[int]]:
    """Yield the tokens of each line, with the special tokens that the tokenizer adds."""
    for start in range(0, len(lines), ENCODED_TOGETHER):
        yield from tokenizer(list(lines[start : start + ENCODED_TOGETHER]), truncation=False, verbose=False)[
            "input_ids"
        ]


def token_scores(
    tokenizer: "PreTrainedTokenizerBase", lines: Mapping[str, Sequence[str]], *, score: TokenScoreName
) -> Counter[int]:
    """Return token -> score of the tokens that occur in some texts.

    - `frequency`: its occurrences. `random` counts the same, as the number of kept tokens follows from it.
    - `translation_sets`: the aligned lines in which the sentence of at least one language has it, so that a long text
      or a language with more tokens per word does not count for more.

    Args:
        lines: language -> its lines; line i has the same meaning in all languages.
    """
    counts: Counter[int] = Counter()
    if score != "translation_sets":
        for of_language in lines.values():
            for ids in encoded(tokenizer, of_language):
                counts.update(ids)
        return counts
    sets: dict[int, set[int]] = {}
    for of_language in lines.values():
        for number, ids in enumerate(encoded(tokenizer, of_language)):
            sets.setdefault(number, set()).update(ids)
    for ids_of_line in sets.values():
        counts.update(ids_of_line)
    return counts


def chosen_tokens(
    source: TokenizerJson, scores: Mapping[int, int], choice: TokenChoice, *, required: Collection[int]
) -> frozenset[int]:
    """Return the tokens to keep, closed under merges and with all required ones. Ties: the lower id is kept first.

    Score random keeps as many tokens as frequency would, drawn from all of the vocabulary.

    Raises:
        BadInputError: `size` is smaller than the required tokens.
    """
    base = source.closed(required)
    if choice.size is not None and choice.size < len(base):
        message = "the vocabulary is smaller than its special and byte tokens, which are always kept"
        raise BadInputError(message, key="size", expected=f"at least {len(base)}", got=choice.size)
    ranked = sorted(scores, key=lambda number: (-scores[number], number))
    if choice.size is None:
        ranked = ranked[: _n_ranked([scores[number] for number in ranked], choice)]
    else:
        ranked += sorted(source.tokens.keys() - scores.keys())
    if choice.score == "random":
        target = len(_filled(source, base, ranked, size=choice.size))
        others = ordered_by_hash(choice.seed, sorted(set(source.tokens) - base))
        return _filled(source, base, others, size=target)
    return _filled(source, base, ranked, size=choice.size)


def _n_ranked(ranked: Sequence[int], choice: TokenChoice) -> int:
    """Return how many of the scores, which descend, a choice keeps."""
    if choice.at_least is not None:
        return sum(score >= choice.at_least for score in ranked)
    if choice.share is None:
        return len(ranked)
    needed, reached = math.ceil(choice.share * sum(ranked)), 0
    for number, score in enumerate(ranked):
        if reached >= needed:
            return number
        reached += score
    return len(ranked)


def _filled(source: TokenizerJson, base: Collection[int], ranked: Iterable[int], *, size: int | None) -> frozenset[int]:
    """Add tokens in their order, each with what it is built from, while they fit."""
    kept = set(base)
    for number in ranked:
        added = source.closed([number]) - kept
        if size is None or len(kept) + len(added) <= size:
            kept |= added
    return frozenset(kept)


def require_spelled(
    source: TokenizerJson, kept: Collection[int], tokenized: Mapping[str, Iterable[Sequence[int]]]
) -> None:
    """Check that a smaller vocabulary writes its own texts without more unknown tokens than the whole one.

    Args:
        tokenized: language -> the tokens of its lines with the smaller vocabulary.
    Raises:
        BadInputError: a line has an unknown token, or a token that is not kept.
    """
    is_kept = set(kept)
    for language, lines in tokenized.items():
        for number, ids in enumerate(lines):
            if source.unknown_id in ids or not is_kept.issuperset(ids):
                message = "the kept tokens cannot spell the texts that they were chosen from"
                raise BadInputError(
                    message, language=language, line=number, next="keep more tokens: raise share or size"
                )
