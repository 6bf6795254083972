"""Sentencepiece models as tokenizer.json: their contents, and an equal tokenizer.

The contents of a sentencepiece model: a protocol buffer with pieces, and settings of training and normalisation.

A protocol buffer is a list of fields: a number that has the field's id and its kind, then its value. Fields that are
not needed are skipped, so files of later versions can be read.

Sentencepiece models as tokenizer.json: the result encodes like the sentencepiece library.

In XGLM, ids are those of fairseq: <s>, <pad>, </s>, <unk>, then the pieces after the three special ones of the
sentencepiece model, then unused words that fill the embedding. In other models, the id of a piece is its
position.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

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


SPACE = "▁"
FAIRSEQ_FAMILIES = ("xglm",)
"""Families whose ids are those of fairseq."""
FAIRSEQ_SPECIAL = (
    *(Piece(text, 0.0, PieceKind.CONTROL) for text in ("<s>", "<pad>", "</s>")),
    Piece("<unk>", 0.0, PieceKind.UNKNOWN),
)
"""The first pieces by fairseq's ids."""
N_SENTENCEPIECE_SPECIAL = 3
"""Number of special pieces at the start of a sentencepiece model of fairseq: <unk>, <s>, </s>."""


def fairseq_model(model: SentencepieceModel, *, vocab_size: int) -> SentencepieceModel:
    """Return a sentencepiece model with its pieces in the order of fairseq's ids.

    Args:
        model: its first pieces are <unk>, <s> and </s>.
        vocab_size: number of rows of the embedding.
    Raises:
        ModelError: its first pieces are others.
    """
    first = [piece.kind for piece in model.pieces[:N_SENTENCEPIECE_SPECIAL]]
    if first != [PieceKind.UNKNOWN, PieceKind.CONTROL, PieceKind.CONTROL]:
        got = [piece.text for piece in model.pieces[:N_SENTENCEPIECE_SPECIAL]]
        raise ModelError("a sentencepiece model is not one of fairseq", expected=["<unk>", "<s>", "</s>"], got=got)
    known = (*FAIRSEQ_SPECIAL, *model.pieces[N_SENTENCEPIECE_SPECIAL:])
    n_fillers = max(0, vocab_size - len(known))
    fillers = (Piece(f"<madeupword{number}>", 0.0, PieceKind.CONTROL) for number in range(n_fillers))
    return replace(model, pieces=(*known, *fillers))


def sentencepiece_tokenizer(model: SentencepieceModel) -> Tokenizer:
    """Return a tokenizer that encodes like a sentencepiece model; control pieces are special tokens."""
    tokenizer = Tokenizer(_bpe(model) if model.model_type == BPE else _unigram(model))
    tokenizer.normalizer = _normalizer(model)
    tokenizer.pre_tokenizer = _pre_tokenizer(model)
    tokenizer.decoder = _decoder(model)
    special = [piece.text for piece in model.pieces if piece.kind == PieceKind.CONTROL]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    return tokenizer


def _unigram(model: SentencepieceModel) -> models.Unigram:
    vocabulary = [(piece.text, piece.score) for piece in model.pieces]
    return models.Unigram(vocabulary, unk_id=model.id_of(PieceKind.UNKNOWN), byte_fallback=model.byte_fallback)


def _bpe(model: SentencepieceModel) -> models.BPE:
    unknown = model.id_of(PieceKind.UNKNOWN)
    return models.BPE(
        vocab={piece.text: number for number, piece in enumerate(model.pieces)},
        merges=bpe_merges(model.pieces),
        unk_token=None if unknown is None else model.pieces[unknown].text,
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
        ignore_merges=bool(_user_defined(model)),
    )


def bpe_merges(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    """Return all pairs of normal pieces that make a normal piece, in the order in which sentencepiece merges them.

    Sentencepiece merges the pair whose result has the highest score; among equal scores the leftmost pair.
    """
    normal = {
        piece.text: (-piece.score, number) for number, piece in enumerate(pieces) if piece.kind == PieceKind.NORMAL
    }
    ranked = [
        (rank, text[:split], text[split:])
        for text, rank in normal.items()
        for split in range(1, len(text))
        if text[:split] in normal and text[split:] in normal
    ]
    return [(left, right) for _, left, right in sorted(ranked)]


def _user_defined(model: SentencepieceModel) -> list[str]:
    """Return the pieces that are always one token, longest first."""
    return sorted((piece.text for piece in model.pieces if piece.kind == PieceKind.USER_DEFINED), key=len, reverse=True)


def _normalizer(model: SentencepieceModel) -> normalizers.Sequence:
    steps: list[normalizers.Normalizer] = []
    if model.character_map:
        steps.append(normalizers.Precompiled(model.character_map))
    if model.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    steps.append(normalizers.Replace(" ", SPACE))
    if model.add_dummy_prefix:
        # Metaspace adds no prefix to a text that has one already, and sentencepiece does
        steps.append(normalizers.Replace(Regex(rf"\A{SPACE}"), 2 * SPACE))
    return normalizers.Sequence(steps)


def _pre_tokenizer(model: SentencepieceModel) -> pre_tokenizers.PreTokenizer:
    scheme = "always" if model.add_dummy_prefix else "never"
    prefix = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme, split=False)
    steps: list[pre_tokenizers.PreTokenizer] = [prefix]
    if user_defined := _user_defined(model):
        steps.append(pre_tokenizers.Split(Regex("|".join(map(re.escape, user_defined))), behavior="isolated"))
    return pre_tokenizers.Sequence(steps)


def _decoder(model: SentencepieceModel) -> decoders.Sequence:
    steps: list[decoders.Decoder] = [decoders.Replace(SPACE, " ")]
    if model.byte_fallback:
        steps.append(decoders.ByteFallback())
    steps.append(decoders.Fuse())
    if model.add_dummy_prefix:
        steps.append(decoders.Strip(content=" ", left=1))
    return decoders.Sequence(steps)
