"""Sides and shots of tokens, compared with examples written by hand, for three kinds of tokenizer."""

from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from mlprune.corpus.calibration import tokenise
from mlprune.corpus.demonstrations import Demonstration, Piece
from mlprune.corpus.token_roles import check_scope, scope_mask, scopes_of, token_roles
from mlprune.errors import CorpusError
from mlprune.vocabulary import DemonstrationKind, TokenScope
from tests.tiny_models import tiny_tokenizer

SHOTS = Demonstration(
    "translation",
    (
        Piece("French: un deux</s>", 1, 0),
        Piece("English: one</s>", 2, 0),
        Piece("French: été </s>", 1, 1),
        Piece("English: summer</s>", 2, 1),
    ),
)


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """A tokenizer as XGLM's is: unigrams over text with `▁` for spaces, normalised, `</s>` put before every text."""
    words = ["▁French", "▁English", "▁un", "▁de", "ux", "▁one", "▁été", "▁s", "um", "mer"]
    letters = [(letter, -9.0) for letter in "▁abcdefghijklmnopqrstuvwxyzéEF:"]
    vocabulary = [
        ("<s>", 0.0),
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        *letters,
        *((word, -1.0) for word in words),
    ]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def trimming_tokenizer() -> PreTrainedTokenizerFast:
    """The byte-level tokenizer with offsets that leave white space out, as GPT-2's are."""
    tokenizer = tiny_tokenizer().backend_tokenizer
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="</s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def test_with_sentencepiece_every_piece_has_its_tokens_and_the_leading_end_token_has_no_role() -> None:
    tokenizer = sentencepiece_like()
    found = tokenise(tokenizer, SHOTS, max_tokens=99)
    by_hand = [
        ("</s>", 0, -1),
        *((token, 1, 0) for token in ("▁French", ":", "▁un", "▁de", "ux", "</s>")),
        *((token, 2, 0) for token in ("▁English", ":", "▁one", "</s>")),
        *((token, 1, 1) for token in ("▁French", ":", "▁été", "▁", "</s>")),
        *((token, 2, 1) for token in ("▁English", ":", "▁s", "um", "mer", "</s>")),
    ]
    assert tokenizer.convert_ids_to_tokens(found.ids) == [token for token, _, _ in by_hand]
    assert found.sides == [side for _, side, _ in by_hand]
    assert found.shots == [shot for _, _, shot in by_hand]


@pytest.mark.parametrize("make", [tiny_tokenizer, trimming_tokenizer])
def test_a_byte_level_tokenizer_gives_every_piece_its_bytes(make: Any) -> None:
    found = tokenise(make(), SHOTS, max_tokens=999)
    expected = []
    for piece in SHOTS.pieces:
        n_tokens = len(piece.text.removesuffix("</s>").encode()) + 1
        expected += [(piece.side, piece.shot)] * n_tokens
    assert list(zip(found.sides, found.shots, strict=True)) == expected


def test_white_space_at_the_end_of_a_piece_is_its_own_and_that_before_a_word_goes_with_the_word() -> None:
    pieces = (Piece("a  ", 1, 0), Piece("b", 2, 0), Piece(" c", 1, 1))
    for make in (tiny_tokenizer, trimming_tokenizer):
        found = tokenise(make(), Demonstration("translation", pieces), max_tokens=99)
        assert (found.sides, found.shots) == ([1, 1, 1, 2, 1, 1], [0, 0, 0, 0, 1, 1])
    merged = [(0, 1), (1, 4), (4, 6)]  # a token across the border belongs to the piece of its last character
    assert token_roles(pieces, merged, special=[0, 0, 0]) == ([1, 2, 1], [0, 0, 1])


def test_tokens_that_are_cut_off_have_no_roles() -> None:
    found = tokenise(sentencepiece_like(), SHOTS, max_tokens=8)
    assert (found.sides, found.shots) == ([0, 1, 1, 1, 1, 1, 1, 2], [-1, 0, 0, 0, 0, 0, 0, 0])


SIDES, OWN = [0, 1, 1, 2, 1, 2, 2], [-1, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("scope", "counted"),
    [("all", "1111111"), ("source", "0110100"), ("target", "0001011"), ("last_shot", "0000111")],
)
def test_a_scope_counts_its_tokens(scope: TokenScope, counted: str) -> None:
    assert scope_mask(SIDES, OWN, scope=scope).tolist() == [flag == "1" for flag in counted]


def test_the_last_shot_is_the_last_one_that_has_tokens() -> None:
    assert scope_mask(SIDES[:4], OWN[:4], scope="last_shot").tolist() == [False, True, True, True]
    assert scope_mask([0], [-1], scope="last_shot").tolist() == [False]


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("translation", {"all", "source", "target", "last_shot"}),
        ("monolingual", {"all", "source", "last_shot"}),
        ("code", {"all", "last_shot"}),
        ("text", {"all", "last_shot"}),
        ("task", {"all", "last_shot"}),
    ],
)
def test_a_scope_that_a_kind_does_not_have_is_refused(kind: DemonstrationKind, known: set[str]) -> None:
    assert set(scopes_of(kind)) == known
    for scope in ("all", "source", "target", "last_shot"):
        if scope in known:
            check_scope(kind, scope, profile="corrected", known=scopes_of(kind))
        else:
            with pytest.raises(CorpusError, match="no such tokens") as caught:
                check_scope(kind, scope, profile="corrected", known=scopes_of(kind))
            assert (caught.value.context["kind"], caught.value.context["token_scope"]) == (kind, scope)


def test_profile_paper_counts_all_tokens_and_has_no_other_scope() -> None:
    check_scope("translation", "all", profile="paper", known=scopes_of("translation"))
    for scope in ("source", "target", "last_shot"):
        with pytest.raises(CorpusError, match="padding included"):
            check_scope("translation", scope, profile="paper", known=scopes_of("translation"))
