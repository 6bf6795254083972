"""Sentencepiece models are read completely, and damaged ones are refused."""

from pathlib import Path

import pytest
import sentencepiece

from mlprune.errors import ModelError
from mlprune.importing.tokenizer_formats.sentencepiece_file import BPE, PieceKind, read_sentencepiece
from tests.sentencepiece_models import train_sentencepiece


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


@pytest.mark.parametrize(
    "data", [b"", b"not a model", b"\x0a\xff\xff\xff\xff\x0f", b"\xff" * 40, b"\x08\x01", b"\x80" * 400_000]
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.model").write_bytes(data)
    with pytest.raises(ModelError, match="not a sentencepiece model"):
        read_sentencepiece(tmp_path / "m.model")


def test_a_number_without_an_end_is_refused_after_64_bits(tmp_path: Path) -> None:
    (tmp_path / "m.model").write_bytes(b"\x80" * 100_000)
    with pytest.raises(ModelError, match="more than 64 bits"):
        read_sentencepiece(tmp_path / "m.model")


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path / "m", model_type="unigram")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ModelError, match="damaged"):
        read_sentencepiece(path)


def test_a_model_of_words_cannot_be_converted(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path / "m", model_type="word", vocab_size=30)
    with pytest.raises(ModelError, match="type of sentencepiece"):
        read_sentencepiece(path)
