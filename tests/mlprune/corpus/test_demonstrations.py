"""Which texts make which demonstration, and how it is written, against docs/method.md section 1 written out."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlprune.corpus.demonstrations import Piece, build_demonstration, draw_groups, drawing_order, unpaired_targets
from mlprune.corpus.templates import format_labelled
from mlprune.errors import CorpusError

FRENCH = ["zéro", "un", "deux", "trois"]
ENGLISH = ["zero", "one", "two", "three"]
SIDES = (
    lambda number, end: format_labelled("fr", FRENCH[number], end),
    lambda number, end: format_labelled("en", ENGLISH[number], end),
)


def by_hash(seed: int, names: list) -> list:
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())


def test_texts_are_drawn_in_the_order_of_their_hashed_keys() -> None:
    assert list(drawing_order({line: line for line in range(30)}, seed=5)) == by_hash(5, list(range(30)))
    names = ["a/b.py", "a.py", "z.py", "b.py"]
    found = drawing_order(dict(enumerate(names)), seed=3)
    assert [names[number] for number in found] == by_hash(3, names)


def test_left_out_texts_are_skipped_and_the_order_of_the_others_stays() -> None:
    keys = {line: line for line in range(20)}
    left_out = {0, 3, 7, 11, 19}
    found = drawing_order(keys, seed=0, left_out=left_out)
    assert list(found) == [line for line in drawing_order(keys, seed=0) if line not in left_out]
    assert drawing_order({0: "x", 1: "y"}, seed=0, left_out={"x"}) == (1,)


def test_the_published_code_takes_texts_as_they_come_whatever_the_seed() -> None:
    keys = {line: f"id {line}" for line in range(9)}
    for seed in (0, 1):
        assert drawing_order(keys, seed=seed, left_out={"id 4"}, profile="paper") == (0, 1, 2, 3, 5, 6, 7, 8)


def test_demonstration_i_takes_the_places_i_k_to_i_k_plus_k_minus_1() -> None:
    order = by_hash(5, list(range(30)))
    assert draw_groups(order, shots=3, samples=7) == [tuple(order[3 * i : 3 * i + 3]) for i in range(7)]


def test_no_text_is_in_two_demonstrations_and_more_samples_keep_the_first_ones() -> None:
    found = draw_groups(range(40), shots=4, samples=10)
    assert sorted(line for chosen in found for line in chosen) == list(range(40))
    assert draw_groups(range(40), shots=4, samples=3) == found[:3]


def test_with_four_shots_the_published_code_skips_every_fifth_line() -> None:
    assert draw_groups(range(14), shots=4, samples=3, skipped=1) == [(0, 1, 2, 3), (5, 6, 7, 8), (10, 11, 12, 13)]


@pytest.mark.parametrize(
    ("n", "shots", "skipped", "made"), [(12, 4, 0, 3), (15, 4, 0, 3), (14, 4, 1, 3), (13, 4, 1, 2)]
)
def test_without_a_number_there_are_as_many_demonstrations_as_texts_for_them(
    n: int, shots: int, skipped: int, made: int
) -> None:
    assert len(draw_groups(range(n), shots=shots, samples=None, skipped=skipped)) == made


def test_too_few_texts_are_an_error_that_counts_them() -> None:
    for arguments, expected, got in (
        ({"shots": 4, "samples": 3}, "12 sentences (3 x 4)", 11),
        ({"shots": 4, "samples": 3, "skipped": 1}, "14 sentences (3 x 4, 1 skipped after each)", 13),
        ({"shots": 2, "samples": None, "unit": "items"}, "2 items (1 x 2)", 1),
    ):
        assert draw_groups(range(got + 1), **arguments)
        with pytest.raises(CorpusError, match="too short") as caught:
            draw_groups(range(got), **arguments)
        assert (caught.value.context["expected"], caught.value.context["got"]) == (expected, got)


def test_a_translation_demonstration_has_the_format_of_the_method() -> None:
    found = build_demonstration("translation", SIDES, numbers=(2, 0), end="</s>")
    assert found.text == "French: deux</s>English: two</s>French: zéro</s>English: zero</s>"
    assert (found.kind, found.sentence_ids) == ("translation", (2, 0))
    assert [(piece.side, piece.shot) for piece in found.pieces] == [(1, 0), (2, 0), (1, 1), (2, 1)]


def test_a_monolingual_demonstration_has_the_format_of_the_method() -> None:
    found = build_demonstration("monolingual", SIDES[:1], numbers=(3, 1), end="|")
    assert found.text == "French: trois|French: un|"
    assert [(piece.side, piece.shot) for piece in found.pieces] == [(1, 0), (1, 1)]


def test_a_code_demonstration_has_no_numbers_of_sentences() -> None:
    found = build_demonstration("code", (lambda number, end: f"# {number}\n",), numbers=(7,), end="</s>")
    assert (found.text, found.sentence_ids, found.pieces) == ("# 7\n", (), (Piece("# 7\n", 1, 0),))


@given(samples=st.integers(1, 12), shots=st.integers(1, 4))
def test_without_pairs_all_targets_occur_once_and_no_demonstration_holds_a_translation(
    samples: int, shots: int
) -> None:
    if samples == shots == 1:
        return
    groups = draw_groups(by_hash(7, list(range(60))), shots=shots, samples=samples)
    targets = unpaired_targets(groups)
    assert sorted(number for numbers in targets for number in numbers) == sorted(
        number for numbers in groups for number in numbers
    )
    assert all(len(one) == len(other) for one, other in zip(groups, targets, strict=True))
    for sources, others in zip(groups, targets, strict=True):
        assert all(source != target for source, target in zip(sources, others, strict=True))
        assert samples == 1 or not set(sources) & set(others)


def test_a_larger_set_without_pairs_starts_with_a_smaller_one_of_even_size() -> None:
    groups = draw_groups(range(40), shots=3, samples=9)
    assert unpaired_targets(groups)[:4] == unpaired_targets(groups[:4])


def test_one_pair_alone_cannot_be_unpaired() -> None:
    assert unpaired_targets([(4, 5, 6)]) == [(5, 6, 4)]
    with pytest.raises(CorpusError, match="one pair"):
        unpaired_targets([(4,)])


def test_a_demonstration_without_pairs_has_the_numbers_of_both_sides_in_order() -> None:
    found = build_demonstration("translation", SIDES, numbers=(2, 0), targets=(1, 3), end="|")
    assert found.text == "French: deux|English: one|French: zéro|English: three|"
    assert found.sentence_ids == (2, 1, 0, 3)
    assert [(piece.side, piece.shot) for piece in found.pieces] == [(1, 0), (2, 0), (1, 1), (2, 1)]
