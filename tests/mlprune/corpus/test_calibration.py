"""Tokenised demonstrations and their padded batches."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.corpus.calibration import SCHEMA, demonstration_columns, padded, token_batches, tokenised
from mlprune.corpus.demonstrations import Demonstration
from mlprune.errors import CorpusError
from tests.tiny_models import END, tiny_tokenizer


class WithStart:
    """A tokenizer that begins every text with a special token, as XGLM's does."""

    truncation_side = "left"

    def __call__(self, text: str, *, truncation: bool, max_length: int) -> dict[str, list[int]]:
        assert truncation
        ids = [END, *text.encode()]
        return {"input_ids": ids[:max_length] if self.truncation_side == "right" else ids[-max_length:]}


def test_a_text_is_cut_on_the_right_to_max_tokens_with_special_tokens_included() -> None:
    columns = demonstration_columns([Demonstration("code", "abcdef")], WithStart(), max_tokens=4)
    assert columns["token_ids"] == [[END, *b"abc"]]


def test_the_end_of_a_sentence_becomes_one_token_inside_the_text() -> None:
    tokenizer = tiny_tokenizer()
    ids = tokenised(tokenizer, "a</s>b</s>", max_tokens=9)
    assert (len(ids), ids[1], ids[3]) == (4, END, END)
    assert tokenizer.decode(ids) == "a</s>b</s>"


def test_a_set_is_one_row_a_demonstration_in_order() -> None:
    given_ones = [Demonstration("translation", "ab", (3, 1)), Demonstration("code", "c")]
    columns = demonstration_columns(given_ones, tiny_tokenizer(), max_tokens=8)
    assert set(columns) == set(SCHEMA)
    assert columns["demonstration"] == [0, 1]
    assert columns["kind"] == ["translation", "code"]
    assert columns["sentence_ids"] == [[3, 1], []]
    assert columns["text"] == ["ab", "c"]
    assert [len(ids) for ids in columns["token_ids"]] == [2, 1]


def test_a_demonstration_without_tokens_is_an_error_that_names_it() -> None:
    with pytest.raises(CorpusError, match="no tokens") as caught:
        demonstration_columns([Demonstration("code", "a"), Demonstration("code", "")], tiny_tokenizer(), max_tokens=8)
    assert caught.value.context["demonstration"] == 1


def test_padding_is_on_the_right_and_masked_everywhere() -> None:
    batch = padded([[5, 6, 7], [8]])
    assert batch.token_ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch.attention_mask.tolist() == [[True] * 3, [True, False, False]]
    assert batch.counted.tolist() == batch.attention_mask.tolist()


def test_batches_are_cut_where_padding_included_they_would_be_too_large() -> None:
    rows = [[1] * length for length in (3, 3, 2, 6, 1, 20, 1)]
    shapes = [tuple(batch.token_ids.shape) for batch in token_batches(rows, batch_tokens=9)]
    assert shapes == [(3, 3), (1, 6), (1, 1), (1, 20), (1, 1)]


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 12), max_size=20), batch_tokens=st.integers(1, 40))
def test_batches_hold_every_demonstration_whole_once_and_in_order(lengths: Sequence[int], batch_tokens: int) -> None:
    rows = [[index + 1] * length for index, length in enumerate(lengths)]
    found = []
    for batch in token_batches(rows, batch_tokens=batch_tokens):
        n_rows, longest = batch.token_ids.shape
        assert n_rows == 1 or n_rows * longest <= batch_tokens
        found += [ids[real].tolist() for ids, real in zip(batch.token_ids, batch.attention_mask, strict=True)]
    assert found == rows
