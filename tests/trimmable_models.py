"""Tiny random models with tokenizers that have more than single bytes or characters, built offline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from mlprune.corpus.cldr_sentences import corpus
from tests.expert_models import save_expert_model
from tests.tiny_models import ALL_FAMILY_NAMES, save_tiny_model, tiny_tokenizer
from tests.tiny_recipes import COLOURS, CORPUS, SENTENCES
from tests.tiny_types import save_tiny_model_of

TRAINED_ON = ("en", "sw", "ru")


def unigram_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer like that of XGLM: texts begin with a token, words with a mark, other text is unknown."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    lines = [line for language in TRAINED_ON for line in corpus(200, 0)[language]]
    trainer = trainers.UnigramTrainer(vocab_size=600, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>")
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="</s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def save_unigram_model(folder: Path, model_type: str = "qwen3_moe") -> Path:
    """Write a tiny mixture of experts with a Unigram tokenizer and return its folder."""
    tokenizer = unigram_tokenizer()
    save_expert_model(folder, model_type, vocab_size=len(tokenizer), pad_token_id=0, max_position_embeddings=512)
    tokenizer.save_pretrained(folder)
    return folder


def save_model_with_merges(folder: Path, name: str, *, sizes: Sequence[str] = ("vocab_size",), **changes: Any) -> Path:
    """Write a tiny model whose tokenizer has a token for every byte, and tokens of words of three languages.

    Args:
        sizes: keys of the config for the number of tokens.
    """
    tokenizer = tiny_tokenizer()
    words = [" ".join((*COLOURS[language], text)) for language, text in (CORPUS | SENTENCES).items()]
    tokenizer = tokenizer.train_new_from_iterator(words * 2, vocab_size=300)
    save = save_tiny_model if name in ALL_FAMILY_NAMES else save_tiny_model_of
    save(folder, name, **dict.fromkeys(sizes, len(tokenizer)), **changes)
    tokenizer.save_pretrained(folder)
    return folder
