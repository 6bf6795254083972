"""The contents of a sentencepiece model: a protocol buffer with pieces, and settings of training and normalisation.

A protocol buffer is a list of fields: a number that has the field's id and its kind, then its value. Fields that are
not needed are skipped, so files of later versions can be read.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from mlprune.errors import ModelError
from mlprune.given_files import read_given

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_PIECES, _TRAINING, _NORMALISATION = 1, 2, 3
_MAX_SHIFT = 63
UNIGRAM, BPE = 1, 2
"""Types of models in field 3 of the training settings."""

Value = int | bytes


class PieceKind(IntEnum):
    """Kinds of pieces."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """One piece of the vocabulary; its id is its position."""

    text: str
    score: float = 0.0
    kind: PieceKind = PieceKind.NORMAL


@dataclass(frozen=True)
class SentencepieceModel:
    """A sentencepiece model; defaults are those of the format."""

    pieces: tuple[Piece, ...]
    model_type: int = UNIGRAM
    byte_fallback: bool = False
    character_map: bytes = field(default=b"", repr=False)
    """Compiled table that replaces characters; empty for none."""
    add_dummy_prefix: bool = True
    """Whether a space is put in front of a text."""
    remove_extra_whitespaces: bool = True
    """Whether spaces around a text and repeated spaces are removed."""

    def id_of(self, kind: PieceKind) -> int | None:
        """Return the id of the first piece of a kind."""
        return next((number for number, piece in enumerate(self.pieces) if piece.kind == kind), None)


def read_sentencepiece(path: Path) -> SentencepieceModel:
    """Read a sentencepiece model.

    Raises:
        ModelError: the file is damaged or not a sentencepiece model, or its type is neither Unigram nor BPE.
    """
    try:
        model = _model(read_given(path))
    except OSError as err:
        raise ModelError("a tokenizer file cannot be read", path=str(path), reason=err.strerror) from err
    except (struct.error, ValueError, IndexError, TypeError) as err:
        message = "a tokenizer file is damaged or not a sentencepiece model"
        raise ModelError(message, path=str(path), reason=str(err)) from err
    if model.model_type not in (UNIGRAM, BPE):
        context = {"path": str(path), "expected": "Unigram (1) or BPE (2)", "got": model.model_type}
        raise ModelError("this type of sentencepiece model cannot be converted", context)
    return model


def _model(data: bytes) -> SentencepieceModel:
    pieces = []
    settings: dict[str, int | bytes | bool] = {}
    for number, value in _fields(data):
        if number == _PIECES:
            pieces.append(_piece(_bytes(value)))
        elif number == _TRAINING:
            training = dict(_fields(_bytes(value)))
            settings["model_type"] = training.get(3, UNIGRAM)
            settings["byte_fallback"] = bool(training.get(35, 0))
        elif number == _NORMALISATION:
            normalisation = dict(_fields(_bytes(value)))
            settings["character_map"] = normalisation.get(2, b"")
            settings["add_dummy_prefix"] = bool(normalisation.get(3, 1))
            settings["remove_extra_whitespaces"] = bool(normalisation.get(4, 1))
    if not pieces:
        raise ValueError("it has no pieces")
    return SentencepieceModel(tuple(pieces), **settings)  # type: ignore[arg-type] # the format fixes the types


def _piece(data: bytes) -> Piece:
    values = dict(_fields(data))
    (score,) = struct.unpack("<f", _bytes(values.get(2, b"\0\0\0\0")))
    return Piece(_bytes(values[1]).decode("utf-8"), score, PieceKind(int(values.get(3, PieceKind.NORMAL))))


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Yield number and value of the fields of a message; numbers of fixed width are bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _LENGTH:
            length, at = _varint(data, at)
        elif kind in (_FOUR_BYTES, _EIGHT_BYTES):
            length = 4 if kind == _FOUR_BYTES else 8
        else:
            raise ValueError(f"a field has the unknown kind {kind}")
        if at + length > len(data):
            raise ValueError("it ends in the middle of a field")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of 7 bits per byte, lowest first; returns it with the position after it."""
    value = shift = 0
    while True:
        if shift > _MAX_SHIFT:
            raise ValueError("a number has more than 64 bits")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("a field has the wrong kind")
    return value
