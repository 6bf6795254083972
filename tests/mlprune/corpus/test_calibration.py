"""Tokenised demonstrations, what counts of them, and their padded batches."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.corpus.calibration import (
    SCHEMA,
    SetLimits,
    counted_tokens,
    cut_to_budget,
    demonstration_columns,
    pad_batch,
    token_batches,
    tokenise,
)
from mlprune.corpus.demonstrations import Demonstration, Piece
from mlprune.errors import CorpusError
from mlprune.store.parquet import columns_of, parquet_bytes
from tests.refusals import refused
from tests.tiny_models import END, PAD, tiny_tokenizer


class WithStart:
    """A tokenizer that begins every text with a special token, as XGLM's does."""

    is_fast = True
    truncation_side = "left"
    eos_token_id, pad_token_id = END, PAD
    padding_side = "right"

    def __call__(self, text: str, *, truncation: bool, max_length: int, **wanted: bool) -> dict[str, list[Any]]:
        assert truncation
        options = ("add_special_tokens", "return_offsets_mapping", "return_special_tokens_mask")
        assert wanted == dict.fromkeys(options, True)
        whole = {
            "input_ids": [END, *text.encode("ascii")],
            "offset_mapping": [(0, 0), *((place, place + 1) for place in range(len(text)))],
            "special_tokens_mask": [1, *(0 for _ in text)],
        }
        kept = slice(max_length) if self.truncation_side == "right" else slice(-max_length, None)
        return {name: values[kept] for name, values in whole.items()}


def code(text: str) -> Demonstration:
    return Demonstration("code", (Piece(text, 1, 0),))


def translation(*shots: tuple[str, str]) -> Demonstration:
    pieces = [Piece(text, side, shot) for shot, pair in enumerate(shots) for side, text in enumerate(pair, start=1)]
    return Demonstration("translation", tuple(pieces), tuple(range(len(shots))))


def test_a_text_is_cut_on_the_right_to_max_tokens_with_special_tokens_included() -> None:
    columns = demonstration_columns([code("abcdef")], WithStart(), SetLimits(4))
    assert columns["token_ids"] == [[END, *b"abc"]]
    assert (columns["sides"], columns["shots"]) == ([[0, 1, 1, 1]], [[-1, 0, 0, 0]])


def test_the_end_of_a_sentence_becomes_one_token_inside_the_text() -> None:
    tokenizer = tiny_tokenizer()
    ids = tokenise(tokenizer, code("a</s>b</s>"), max_tokens=9).ids
    assert (len(ids), ids[1], ids[3]) == (4, END, END)
    assert tokenizer.decode(ids) == "a</s>b</s>"


def test_a_tokenizer_without_offsets_is_an_error() -> None:
    slow = WithStart()
    slow.is_fast = False
    with refused(CorpusError, expected="a tokenizer.json", got="a slow tokenizer"):
        tokenise(slow, code("a"), max_tokens=8)


def test_a_set_is_one_row_a_demonstration_in_order_and_comes_back_from_its_file() -> None:
    given_ones = [translation(("ab", "c"), ("d", "e")), code("f")]
    columns = demonstration_columns(given_ones, tiny_tokenizer(), SetLimits(8))
    assert list(columns) == list(SCHEMA)
    assert columns["demonstration"] == [0, 1]
    assert columns["kind"] == ["translation", "code"]
    assert columns["profile"] == ["corrected"] * 2
    assert columns["sentence_ids"] == [[0, 1], []]
    assert columns["text"] == ["abcde", "f"]
    assert [len(ids) for ids in columns["token_ids"]] == [5, 1]
    assert columns["sides"] == [[1, 1, 2, 1, 2], [1]]
    assert columns["shots"] == [[0, 0, 0, 1, 1], [0]]
    stored = columns_of(parquet_bytes(columns, SCHEMA)[0])
    assert [ids.tolist() for ids in stored["token_ids"]] == columns["token_ids"]
    assert (stored["sides"][0].dtype, stored["shots"][0].dtype) == ("int8", "int32")
    assert counted_tokens(stored, "last_shot") == [[False, False, False, True, True], [True]]


def test_a_demonstration_without_tokens_is_an_error_that_names_it() -> None:
    with refused(CorpusError, demonstration=1):
        demonstration_columns([code("a"), code("")], tiny_tokenizer(), SetLimits(8))


@pytest.mark.parametrize("budget", range(1, 16))
def test_a_token_budget_is_hit_exactly_and_only_the_last_demonstration_is_cut(budget: int) -> None:
    whole = demonstration_columns([code("abcd")] * 3, WithStart(), SetLimits(9))
    columns = demonstration_columns([code("abcd")] * 9, WithStart(), SetLimits(9, budget))
    assert sum(len(ids) for ids in columns["token_ids"]) == budget
    assert len(columns["text"]) == -(-budget // 5)
    for name in ("token_ids", "sides", "shots"):
        joined = [value for row in whole[name] for value in row]
        assert [value for row in columns[name] for value in row] == joined[:budget]
        assert columns[name][:-1] == whole[name][: len(columns["text"]) - 1]


def test_a_budget_takes_no_more_demonstrations_than_it_needs() -> None:
    asked = []

    def source() -> Any:
        for number in range(99):
            asked.append(number)
            yield code("abcd")

    demonstration_columns(source(), WithStart(), SetLimits(4, 8))
    assert asked == [0, 1]


def test_a_budget_that_the_texts_cannot_fill_is_an_error_that_counts_their_tokens() -> None:
    with refused(CorpusError, expected="8 tokens (token_budget)", got="7 tokens"):
        demonstration_columns([code("abcd"), code("ab")], WithStart(), SetLimits(4, 8))


@pytest.mark.parametrize(
    ("side", "pad", "expected"),
    [
        ("right", PAD, [END, 97, 98, PAD, PAD]),
        ("left", PAD, [PAD, PAD, END, 97, 98]),
        ("right", None, [END, 97, 98, END, END]),
    ],
)
def test_the_profile_paper_stores_the_padding_which_has_no_role(
    side: str, pad: int | None, expected: list[int]
) -> None:
    tokenizer = WithStart()
    tokenizer.padding_side, tokenizer.pad_token_id = side, pad  # type: ignore[assignment]
    columns = demonstration_columns([code("ab"), code("abcdefg")], tokenizer, SetLimits(5), profile="paper")
    assert columns["token_ids"] == [expected, [END, *b"abcd"]]
    real = [token in b"ab" for token in expected]
    assert columns["sides"][0] == [int(one) for one in real]
    assert columns["shots"][0] == [0 if one else -1 for one in real]
    assert columns["profile"] == ["paper"] * 2
    assert counted_tokens(columns, "all") == [[True] * 5] * 2


def test_sides_and_shots_count_where_they_are_asked_for() -> None:
    columns = demonstration_columns([translation(("ab", "c"), ("d", "ef"))], WithStart(), SetLimits(6))
    assert columns["token_ids"] == [[END, *b"abcde"]]
    assert counted_tokens(columns, "all") == [[True] * 6]
    assert counted_tokens(columns, "source") == [[False, True, True, False, True, False]]
    assert counted_tokens(columns, "target") == [[False, False, False, True, False, True]]
    assert counted_tokens(columns, "last_shot") == [[False, False, False, False, True, True]]
    cut = demonstration_columns([translation(("ab", "c"), ("d", "ef"))], WithStart(), SetLimits(4))
    assert counted_tokens(cut, "last_shot") == [[False, True, True, True]]


def test_all_needs_nothing_but_the_tokens() -> None:
    assert counted_tokens({"token_ids": [[1, 2], [3]]}, "all") == [[True, True], [True]]


def test_a_scope_that_the_kind_of_a_demonstration_lacks_is_refused_even_in_a_mixed_set() -> None:
    columns = demonstration_columns([translation(("a", "b")), code("c")], tiny_tokenizer(), SetLimits(8))
    assert counted_tokens(columns, "last_shot") == [[True, True], [True]]
    with refused(CorpusError, kind="code", token_scope="target"):
        counted_tokens(columns, "target")
    paper = demonstration_columns([translation(("a", "b"))], tiny_tokenizer(), SetLimits(8), profile="paper")
    with refused(CorpusError, expected=("all",), kind="translation"):
        counted_tokens(paper, "source")


def test_a_demonstration_cut_before_its_target_has_none_and_a_set_without_any_is_an_error() -> None:
    shots = [translation(("abcdef", "g")), translation(("ab", "cd"))]
    columns = demonstration_columns(shots, tiny_tokenizer(), SetLimits(4))
    assert counted_tokens(columns, "target") == [[False] * 4, [False, False, True, True]]
    with refused(CorpusError, kind=["translation"], token_scope="target"):
        counted_tokens({name: values[:1] for name, values in columns.items()}, "target")


def test_padding_is_on_the_right_and_masked_everywhere() -> None:
    batch = pad_batch([[5, 6, 7], [8]])
    assert batch.token_ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch.attention_mask.tolist() == [[True] * 3, [True, False, False]]
    assert batch.counted.tolist() == batch.attention_mask.tolist()


def test_tokens_that_do_not_count_are_attended_to_all_the_same() -> None:
    batch = pad_batch([[5, 6, 7], [8, 9]], counted=[[False, True, True], [True, False]])
    assert batch.attention_mask.tolist() == [[True, True, True], [True, True, False]]
    assert batch.counted.tolist() == [[False, True, True], [True, False, False]]


def test_batches_have_demonstrations_of_similar_length_longest_first_and_equal_ones_in_order() -> None:
    rows = [[1] * length for length in (3, 3, 2, 6, 1, 20, 1)]
    found = [(indices, tuple(batch.token_ids.shape)) for indices, batch in token_batches(rows, batch_tokens=9)]
    assert found == [((5,), (1, 20)), ((3,), (1, 6)), ((0, 1, 2), (3, 3)), ((4, 6), (2, 1))]


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 12), max_size=20), batch_tokens=st.integers(1, 40), data=st.data())
def test_every_demonstration_is_in_one_batch_with_its_counted_tokens(
    lengths: Sequence[int], batch_tokens: int, data: st.DataObject
) -> None:
    rows = [[index + 1] * length for index, length in enumerate(lengths)]
    counted = [data.draw(st.lists(st.booleans(), min_size=length, max_size=length)) for length in lengths]
    found: dict[int, tuple[list[int], list[bool]]] = {}
    for indices, batch in token_batches(rows, batch_tokens=batch_tokens, counted=counted):
        n_rows, longest = batch.token_ids.shape
        assert n_rows == 1 or n_rows * longest <= batch_tokens
        assert not (batch.counted & ~batch.attention_mask).any()
        for place, index in enumerate(indices):
            assert index not in found
            real = batch.attention_mask[place]
            found[index] = (batch.token_ids[place][real].tolist(), batch.counted[place][real].tolist())
    assert [found[index] for index in range(len(rows))] == list(zip(rows, counted, strict=True))
    assert len(found) == len(rows)


def test_a_set_is_cut_from_its_end_and_every_demonstration_keeps_a_token() -> None:
    whole = demonstration_columns([code("abcdef"), code("abc"), code("ab")], WithStart(), SetLimits(9))
    assert [len(ids) for ids in whole["token_ids"]] == [7, 4, 3]
    cut = cut_to_budget(whole, 9)
    assert [[len(values) for values in cut[name]] for name in ("token_ids", "sides", "shots")] == [[7, 1, 1]] * 3
    assert cut_to_budget(whole, 14) == whole
    with refused(CorpusError, expected="15 tokens (token_budget)", got="14 tokens"):
        cut_to_budget(whole, 15)
