"""Tiny random models with a Unigram tokenizer, built offline."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from mlprune.corpus.cldr_sentences import corpus
from tests.expert_models import save_expert_model

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
