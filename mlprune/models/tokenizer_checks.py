"""Checks of a tokenizer: that a folder has one, that it belongs to the model, and that it knows a text's characters.

transformers builds a tokenizer from almost any folder. Without the vocabulary, every word becomes unknown, and all
results are wrong without an error.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlprune.errors import ModelError
from mlprune.models.checkpoint.content_hashes import SENTENCEPIECE_FILES, TOKENIZER_JSON
from mlprune.models.checkpoint.import_advice import import_command

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

READABLE = ((TOKENIZER_JSON,), ("vocab.json", "merges.txt"))
"""Sets of files from which transformers builds the published tokenizer."""
MIN_SIZE_SHARE = 0.5
"""Least number of tokens, as a share of the rows of the embedding. Embeddings are padded by a few per cent (Qwen2:
151,936 rows for 151,665 tokens); a tokenizer without its vocabulary has some ten tokens."""
MAX_UNKNOWN_SHARE = 0.05
"""Largest share of unknown tokens in a text."""
MIN_REPRODUCED_SHARE = 0.8
"""Least share of the characters of a text that encoding and decoding must give back."""
SENTENCE = "The committee met again in 2024, and a new agreement was signed by all members."
"""Sentence that every tokenizer has to know: all pretrained models have seen English."""


@dataclass(frozen=True)
class Coverage:
    """How well a tokenizer knows some texts."""

    unknown_share: float
    """Share of the tokens that are the unknown token."""
    reproduced_share: float
    """Share of the characters that decoding gives back, without case, spaces and compatibility forms."""

    @property
    def is_sufficient(self) -> bool:
        """Whether results on such texts are meaningful."""
        return self.unknown_share <= MAX_UNKNOWN_SHARE and self.reproduced_share >= MIN_REPRODUCED_SHARE


def require_vocabulary(folder: Path, *, importable: bool = True) -> None:
    """Check that a folder has the files of a tokenizer.

    Args:
        importable: whether a sentencepiece model alone is enough, which `mlprune import` converts.
    Raises:
        ModelError: it has none of them.
    """
    choices = (*READABLE, *((name,) for name in SENTENCEPIECE_FILES if importable))
    if any(all((folder / name).is_file() for name in names) for names in choices):
        return
    expected = ["+".join(names) for names in choices]
    got = sorted(path.name for path in folder.iterdir() if path.is_file())
    context = {"path": str(folder), "expected": expected, "got": got}
    if not importable and any((folder / name).is_file() for name in SENTENCEPIECE_FILES):
        message = f"the model folder has a sentencepiece model and no {TOKENIZER_JSON}; convert it with"
        raise ModelError(f"{message} `{import_command(str(folder))}`", context)
    message = "the model folder has no tokenizer; copy the published one into it, or use `mlprune import SOURCE OUT`"
    raise ModelError(message, context)


def check_size(tokenizer: "PreTrainedTokenizerBase", vocab_size: int, *, path: Path) -> None:
    """Check that a tokenizer has about as many tokens as the model has rows in its embedding.

    Added tokens may have ids beyond the embedding: Gemma's tokenizer has a token for images that its text models lack.

    Raises:
        ModelError: it has far fewer tokens, or ids of ordinary or special tokens are beyond the embedding.
    """
    context = {"path": str(path), "expected": f"about {vocab_size} (vocab_size in config.json)", "got": len(tokenizer)}
    if len(tokenizer) < MIN_SIZE_SHARE * vocab_size:
        message = "the tokenizer has far fewer tokens than the model; import the published model with `mlprune import`"
        raise ModelError(message, context)
    ordinary = set(tokenizer.get_vocab().values()) - set(tokenizer.added_tokens_decoder)
    in_use = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id} - {None}
    largest = max(ordinary | in_use, default=0)
    if largest >= vocab_size:
        message = "the tokenizer has tokens that the model has no embedding for; it belongs to another model"
        raise ModelError(message, {**context, "largest_id": largest})


def coverage(tokenizer: "PreTrainedTokenizerBase", texts: Iterable[str]) -> Coverage:
    """Encode and decode texts, and return how much is known."""
    n_tokens = n_unknown = n_characters = n_reproduced = 0
    unknown = unknown_id(tokenizer)
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        n_tokens += len(ids)
        n_unknown += ids.count(unknown)
        characters = Counter(_comparable(text))
        n_characters += characters.total()
        n_reproduced += (characters & Counter(_comparable(tokenizer.decode(ids, skip_special_tokens=True)))).total()
    return Coverage(n_unknown / max(1, n_tokens), n_reproduced / max(1, n_characters))


def unknown_id(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Return the id that stands for unknown text only; GPT-2 names its end-of-sequence token so and never uses it."""
    number: int | None = tokenizer.unk_token_id
    return None if number == tokenizer.eos_token_id else number


def _comparable(text: str) -> str:
    """Return a text without differences that tokenizers make: compatibility forms, case and spaces."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text).casefold())
