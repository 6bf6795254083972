"""Small sentencepiece models, trained on a few sentences of the built-in corpus."""

from pathlib import Path
from typing import Any

import sentencepiece

from mlprune.corpus.cldr_sentences import corpus

_LINES = corpus(60, 0)
TEXTS = tuple(line for language in ("en", "fr", "zh", "hi") for line in _LINES[language][:10])
_TRAINING_TEXTS = tuple(line for language in ("en", "fr", "zh", "hi") for line in _LINES[language])


def train_sentencepiece(prefix: Path, *, model_type: str, vocab_size: int = 900, **options: Any) -> Path:
    """Train a model and return its file.

    Args:
        prefix: path of the file without `.model`.
        options: of the trainer.
    """
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_TRAINING_TEXTS),
        model_prefix=str(prefix),
        model_type=model_type,
        vocab_size=vocab_size,
        minloglevel=2,
        hard_vocab_limit=False,
        num_threads=1,
        **options,
    )
    return prefix.with_suffix(".model")
