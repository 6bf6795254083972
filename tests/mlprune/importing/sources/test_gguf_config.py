"""Tokenizers of GGUF files split and encode texts as the tokenizers that they were written from."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from mlprune.errors import ModelError
from mlprune.importing.sources.gguf_config import prepare_gguf, word_splitting, write_gguf_tokenizer
from mlprune.importing.sources.gguf_file import GgufHeader
from tests.gguf_files import write_gguf
from tests.refusals import refused
from tests.tiny_models import tiny_tokenizer

TEXTS = ("It's 2024, isn't it?  Two spaces", "¡Hola! 你好\n\n नमस्ते")


def test_the_tokenizer_of_a_byte_level_vocabulary_round_trips(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    write_gguf(tmp_path / "source" / "tiny.gguf", "llama")
    prepare_gguf(tmp_path / "source", tmp_path / "target")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "target")
    assert tokenizer.get_vocab() == {**tiny_tokenizer().get_vocab(), "Ġa": 259}
    assert tokenizer.tokenize("x a") == ["x", "Ġa"]
    assert tokenizer.eos_token_id == 1
    for text in TEXTS:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt-2", ["It", "'s", "Ġ2024", ",", "Ġ", "Ġx"]),
        ("smollm", ["It", "'s", "Ġ", "2", "0", "2", "4", ",", "Ġ", "Ġx"]),
        ("llama-bpe", ["It", "'s", "Ġ", "202", "4", ",", "Ġ", "Ġx"]),
        ("qwen2", ["It", "'s", "Ġ", "2", "0", "2", "4", ",", "Ġ", "Ġx"]),
    ],
)
def test_words_are_split_as_the_published_tokenizers_split_them(name: str, words: list[str]) -> None:
    assert [word for word, _ in word_splitting(name).pre_tokenize_str("It's 2024,  x")] == words


def test_an_unknown_splitting_asks_for_the_published_tokenizer(tmp_path: Path) -> None:
    metadata = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "viking"}
    with refused(ModelError, got="viking"):
        write_gguf_tokenizer(GgufHeader(tmp_path / "tiny.gguf", metadata, ()), tmp_path)
