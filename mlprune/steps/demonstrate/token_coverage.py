"""Check that the tokenizer knows the texts of sets: a sample while planning, all tokens when a set is made.

With unknown tokens, statistics describe the unknown token and not the language.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from mlprune.errors import CorpusError
from mlprune.hashing import digest
from mlprune.models.loading import load_tokenizer
from mlprune.models.metadata_cache import cached_metadata
from mlprune.models.tokenizer_checks import MAX_UNKNOWN_SHARE, MIN_REPRODUCED_SHARE, coverage, unknown_id
from mlprune.steps.demonstrate.source_texts import SourceTexts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

N_TEXTS = 16
"""Texts of a sample, spread evenly over those that were drawn."""
MAX_CHARACTERS = 2000
"""Characters of a text that are checked; files of code can be long."""


def sample_texts(texts: SourceTexts, groups: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Return some of the texts of a set, with their labels.

    Args:
        groups: numbers of each demonstration's texts.
    """
    numbers = list(dict.fromkeys(chain.from_iterable(groups)))
    chosen = numbers[:: max(1, len(numbers) // N_TEXTS)][:N_TEXTS]
    return tuple(side(number, "")[:MAX_CHARACTERS] for number in chosen for side in texts.sides)


def check_samples(model: Path, samples: Mapping[str, Sequence[str]]) -> None:
    """Check that the tokenizer of a model knows the samples of sets; the result is cached.

    Args:
        samples: name of the set in the recipe -> texts.
    Raises:
        CorpusError: the tokenizer does not know one of them.
    """
    cached_metadata(model, f"coverage {digest(samples)}", lambda: _checked(model, samples))


def _checked(model: Path, samples: Mapping[str, Sequence[str]]) -> dict[str, bool]:
    tokenizer = load_tokenizer(model)
    for name, texts in samples.items():
        known = coverage(tokenizer, texts)
        if not known.is_sufficient:
            message = "the tokenizer does not know the texts of a demonstration set; use a model of their language"
            worst = min(texts, key=lambda text: coverage(tokenizer, [text]).reproduced_share)
            raise CorpusError(
                message,
                demonstrations=name,
                unknown_tokens=f"{known.unknown_share:.0%} (at most {MAX_UNKNOWN_SHARE:.0%})",
                reproduced_characters=f"{known.reproduced_share:.0%} (at least {MIN_REPRODUCED_SHARE:.0%})",
                text=worst[:80],
            )
    return {"is_sufficient": True}


def check_unknown_tokens(token_ids: Sequence[Sequence[int]], tokenizer: "PreTrainedTokenizerBase") -> None:
    """Check that few tokens of a set are unknown.

    Raises:
        CorpusError: more than `MAX_UNKNOWN_SHARE` are.
    """
    unknown = unknown_id(tokenizer)
    n_tokens = sum(len(ids) for ids in token_ids)
    n_unknown = sum(number == unknown for ids in token_ids for number in ids)
    if n_unknown > MAX_UNKNOWN_SHARE * n_tokens:
        message = "the tokenizer does not know the texts of a demonstration set; use a model of their language"
        expected = f"at most {MAX_UNKNOWN_SHARE:.0%} unknown tokens"
        raise CorpusError(message, expected=expected, got=f"{n_unknown} of {n_tokens}")
