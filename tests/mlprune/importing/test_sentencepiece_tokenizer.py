"""Sentencepiece models are read completely, and damaged ones are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from mlprune.errors import ModelError
from mlprune.importing import sentencepiece_tokenizer as module
from mlprune.importing.sentencepiece_tokenizer import (
    BPE,
    PieceKind,
    fairseq_model,
    read_sentencepiece,
    sentencepiece_tokenizer,
)
from tests.sentencepiece_models import TEXTS, train_sentencepiece


def test_pieces_and_settings_are_those_of_the_library(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path / "m", model_type="bpe", byte_fallback=True, add_dummy_prefix=False)
    library = sentencepiece.SentencePieceProcessor(model_file=str(path))
    model = read_sentencepiece(path)
    numbers = range(library.get_piece_size())
    assert [piece.text for piece in model.pieces] == [library.id_to_piece(number) for number in numbers]
    assert [piece.score for piece in model.pieces] == [library.get_score(number) for number in numbers]
    kinds = [piece.kind for piece in model.pieces]
    assert [kind == PieceKind.BYTE for kind in kinds] == [library.is_byte(number) for number in numbers]
    assert [kind == PieceKind.CONTROL for kind in kinds] == [library.is_control(number) for number in numbers]
    assert (model.model_type, model.byte_fallback, model.add_dummy_prefix) == (BPE, True, False)
    assert model.remove_extra_whitespaces
    assert model.character_map


def _piece(text: bytes) -> bytes:
    length = len(text).to_bytes(1) if len(text) < 128 else bytes([len(text) & 0x7F | 0x80, len(text) >> 7])
    field = b"\x0a" + length + text
    outer = len(field).to_bytes(1) if len(field) < 128 else bytes([len(field) & 0x7F | 0x80, len(field) >> 7])
    return b"\x0a" + outer + field


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a model",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\xff" * 40,
        b"\x08\x01",
        b"\x80" * 400_000,
        b"\x0b" * 400_000,
        b"\x0a\x02\x18\x01",
        _piece(b"\xff"),
        _piece(b"a" * 513),
        _piece(b"a") * (module.MAX_PIECES + 1),
    ],
    ids=[
        "empty",
        "text",
        "long field",
        "unknown fields",
        "no pieces",
        "long number",
        "nested groups",
        "no text",
        "not UTF-8",
        "long piece",
        "many pieces",
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.model").write_bytes(data)
    with pytest.raises(ModelError, match="not a sentencepiece model") as caught:
        read_sentencepiece(tmp_path / "m.model")
    assert "\n" not in str(caught.value)


def test_a_file_of_many_empty_pieces_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "m.model").write_bytes(b"\x0a\x00" * (9 << 20))
    with pytest.raises(ModelError) as caught:
        read_sentencepiece(tmp_path / "m.model")
    assert "16 MiB" in caught.value.context["reason"]


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path / "m", model_type="unigram")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ModelError, match="damaged"):
        read_sentencepiece(path)


def test_a_model_of_words_cannot_be_converted(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path / "m", model_type="word", vocab_size=30)
    with pytest.raises(ModelError, match="type of sentencepiece"):
        read_sentencepiece(path)


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
