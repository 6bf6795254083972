"""Sentencepiece models as tokenizer.json: the result encodes like the sentencepiece library.

transformers' protocol buffer parses the file. In XGLM, ids are those of fairseq: <s>, <pad>, </s>, <unk>, then the
pieces after the three special ones of the sentencepiece model, then unused words that fill the embedding. In other
models, the id of a piece is its position.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from mlprune.errors import ModelError, reason_of
from mlprune.given_files import read_given

UNIGRAM, BPE = 1, 2
"""Types of models."""
MAX_MIB = 16
"""Largest file that is read, in MiB; published models have up to 5."""
MAX_PIECES = 1 << 20
MAX_CHARACTERS = 512
"""Most pieces of a model, and characters of a piece; the merges of a piece take time that grows with its square."""
SPACE = "▁"
FAIRSEQ_FAMILIES = ("xglm",)
"""Families whose ids are those of fairseq."""
N_SENTENCEPIECE_SPECIAL = 3
"""Number of special pieces at the start of a sentencepiece model of fairseq: <unk>, <s>, </s>."""


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


FAIRSEQ_SPECIAL = (
    *(Piece(text, 0.0, PieceKind.CONTROL) for text in ("<s>", "<pad>", "</s>")),
    Piece("<unk>", 0.0, PieceKind.UNKNOWN),
)
"""The first pieces by fairseq's ids."""


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
    from transformers.convert_slow_tokenizer import import_protobuf  # noqa: PLC0415 - takes seconds

    try:
        data = read_given(path, most_mib=MAX_MIB)
        model = _model(import_protobuf().ModelProto.FromString(data))
    except OSError as err:
        raise ModelError("a tokenizer file cannot be read", path=str(path), reason=err.strerror) from err
    except Exception as err:  # the errors of the parser belong to a library that only transformers imports
        message = "a tokenizer file is damaged or not a sentencepiece model"
        raise ModelError(message, path=str(path), reason=reason_of(err)) from err
    if model.model_type not in (UNIGRAM, BPE):
        context = {"path": str(path), "expected": "Unigram (1) or BPE (2)", "got": model.model_type}
        raise ModelError("this type of sentencepiece model cannot be converted", context)
    return model


def _model(proto: Any) -> SentencepieceModel:
    """Return the model in a parsed protocol buffer; raises ValueError."""
    if not 0 < len(proto.pieces) <= MAX_PIECES:
        raise ValueError(f"it has {len(proto.pieces)} pieces")
    return SentencepieceModel(
        tuple(_piece(piece) for piece in proto.pieces),
        model_type=proto.trainer_spec.model_type,
        byte_fallback=proto.trainer_spec.byte_fallback,
        character_map=proto.normalizer_spec.precompiled_charsmap,
        add_dummy_prefix=proto.normalizer_spec.add_dummy_prefix,
        remove_extra_whitespaces=proto.normalizer_spec.remove_extra_whitespaces,
    )


def _piece(proto: Any) -> Piece:
    text = proto.piece  # bytes if they are not UTF-8
    if not isinstance(text, str) or not 0 < len(text) <= MAX_CHARACTERS:
        raise ValueError(f"a piece is not a text of 1 to {MAX_CHARACTERS} characters: {text[:80]!r}")
    return Piece(text, proto.score, PieceKind(proto.type))


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
    tokenizer = Tokenizer(_algorithm(model))
    tokenizer.normalizer = _normalizer(model)
    tokenizer.pre_tokenizer = _pre_tokenizer(model)
    tokenizer.decoder = _decoder(model)
    special = [piece.text for piece in model.pieces if piece.kind == PieceKind.CONTROL]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    return tokenizer


def _algorithm(model: SentencepieceModel) -> models.Model:
    unknown = model.id_of(PieceKind.UNKNOWN)
    if model.model_type == UNIGRAM:
        vocabulary = [(piece.text, piece.score) for piece in model.pieces]
        return models.Unigram(vocabulary, unk_id=unknown, byte_fallback=model.byte_fallback)
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
