"""Sizes of a model by token: what a smaller vocabulary removes at most, and what the plan says about it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from mlprune.errors import BadInputError
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.models.loading import load_tokenizer
from mlprune.steps.job import ModelRef
from mlprune.trimming.folder import read_tokenizer, required_tokens, vocabulary_tensors

TOKENIZER_BYTES = 2048
"""Memory per token of the base model while tokens are chosen: the parsed tokenizer, and two tokenizers that run."""
N_BYTES = 256


@dataclass(frozen=True)
class ModelSizes:
    """Sizes of a base model by token."""

    n_tokens: int
    """Rows of the embedding."""
    required: frozenset[int]
    """Tokens that every smaller vocabulary keeps."""
    n_least: int
    """These, and the tokens from which they are merged."""
    n_weights: int
    """Values in the files of the model."""
    weights_per_token: int
    """Values in the rows of a token: of the embedding, and of the head and its bias if they are stored."""
    largest_bytes: int
    """Bytes of the largest tensor with a row per token, as stored."""
    spells_all: bool
    """Whether the tokens that are always kept spell every text: there is one for every byte."""

    def n_removed_weights(self, n_kept: int) -> int:
        """Return the number of weights that belong to removed tokens."""
        return self.weights_per_token * (self.n_tokens - n_kept)

    def export_bytes(self, n_kept: int) -> int:
        """Return the memory of an export: the kept rows of the largest tensor, twice where they are padded."""
        return 2 * (self.largest_bytes * n_kept // self.n_tokens)

    def require_size(self, size: int) -> None:
        """Check the number of tokens of a smaller vocabulary.

        Raises:
            BadInputError: it is smaller than what is always kept, or larger than the vocabulary.
        """
        if not self.n_least <= size <= self.n_tokens:
            message = "a smaller vocabulary has at least the special and byte tokens, and at most all tokens"
            raise BadInputError(message, key="size", expected=f"{self.n_least} to {self.n_tokens}", got=size)


@lru_cache(maxsize=8)
def model_sizes(model: ModelRef) -> ModelSizes:
    """Return the sizes of a model, from the headers of its weight files and its tokenizer.

    Raises:
        BadInputError: the tokenizer cannot be trimmed, or the embedding and the head have other sizes.
    """
    path = Path(model.path)
    source = read_tokenizer(load_tokenizer(path))
    tensors = vocabulary_tensors(path)
    n_tokens = next(iter(tensors.values()))
    required = required_tokens(source, path, n_rows=n_tokens)
    files = WeightFiles(path, architecture_at(path))
    sizes = {name: torch.Size(files.shape(name)).numel() for name in files.names}
    of_tokens = {name: sizes[name] for name in tensors if name in sizes}
    return ModelSizes(
        n_tokens=n_tokens,
        required=required,
        n_least=len(source.closed(required)),
        n_weights=sum(sizes.values()),
        weights_per_token=sum(of_tokens.values()) // n_tokens,
        largest_bytes=max(sizes[name] * files.dtype(name).itemsize for name in of_tokens),
        spells_all=len(source.byte_ids) >= N_BYTES,
    )
