"""Converted sentencepiece models encode like the sentencepiece library."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from mlprune.errors import ModelError
from mlprune.importing.tokenizer_formats.sentencepiece_file import PieceKind, read_sentencepiece
from mlprune.importing.tokenizer_formats.sentencepiece_tokenizer import fairseq_model, sentencepiece_tokenizer
from tests.sentencepiece_models import TEXTS, train_sentencepiece

ODD_TEXTS = (
    " leading",
    "trailing  ",
    "two  spaces",
    "tab\tand\nline",
    "▁x y",
    "",
    "  ",
    "ﬁ ½ Å ｆｕｌｌ １２",
    "\U0001f9ff\U0001f9ff x \U0001f9ff",
    "<x>a <x> b",
    "a<x>",
    "　全角 한국어",
)
PLAIN: dict[str, Any] = {
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "normalization_rule_name": "identity",
    "byte_fallback": True,
}


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("options", [{}, {"user_defined_symbols": ["<x>"]}, PLAIN], ids=["default", "symbols", "plain"])
def test_texts_get_the_ids_that_sentencepiece_gives_them(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    path = train_sentencepiece(tmp_path / "m", model_type=kind, **options)
    library = sentencepiece.SentencePieceProcessor(model_file=str(path))
    tokenizer = sentencepiece_tokenizer(read_sentencepiece(path))
    for text in (*TEXTS, *ODD_TEXTS):
        assert tokenizer.encode(text).ids == library.encode(text), text
    ids = library.encode(TEXTS[0])
    assert tokenizer.decode(ids) == library.decode(ids)


def test_ids_of_xglm_are_those_of_fairseq(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path / "m", model_type="unigram")
    library = sentencepiece.SentencePieceProcessor(model_file=str(path))
    n_pieces = library.get_piece_size()
    tokenizer = sentencepiece_tokenizer(fairseq_model(read_sentencepiece(path), vocab_size=n_pieces + 8))
    assert [tokenizer.id_to_token(number) for number in range(4)] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert tokenizer.id_to_token(n_pieces + 7) == "<madeupword6>"
    assert tokenizer.get_vocab_size() == n_pieces + 8
    for text in (*TEXTS, "unknown \U0001f9ff"):
        expected = [3 if number == 0 else number + 1 for number in library.encode(text)]
        assert tokenizer.encode(text).ids == expected


def test_a_model_of_another_order_is_not_one_of_fairseq(tmp_path: Path) -> None:
    model = read_sentencepiece(train_sentencepiece(tmp_path / "m", model_type="unigram"))
    shifted = replace(model, pieces=model.pieces[1:])
    with pytest.raises(ModelError, match="fairseq"):
        fairseq_model(shifted, vocab_size=1000)


def test_control_pieces_are_special_tokens(tmp_path: Path) -> None:
    model = read_sentencepiece(train_sentencepiece(tmp_path / "m", model_type="bpe"))
    tokenizer = sentencepiece_tokenizer(model)
    assert model.pieces[2].kind == PieceKind.CONTROL
    assert tokenizer.encode("a</s>").tokens[-1] == "</s>"
