"""Sizes of the parts of a mixed set."""

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from mlprune.corpus.calibration import tokenise
from mlprune.corpus.demonstrations import (
    Demonstration,
    Piece,
    build_demonstration,
    check_scope,
    draw_groups,
    drawing_order,
    part_counts,
    scope_mask,
    scopes_of,
    token_roles,
    unpaired_targets,
)
from mlprune.corpus.templates import format_labelled
from mlprune.errors import CorpusError
from mlprune.vocabulary import DemonstrationKind, TokenScope
from tests.refusals import refused
from tests.tiny_models import tiny_tokenizer


def test_without_a_number_equal_shares_are_the_smallest_part_and_proportional_ones_all() -> None:
    assert part_counts([5, 3, 9], shares="equal") == (3, 3, 3)
    assert part_counts([5, 3, 9], shares="proportional") == (5, 3, 9)


@pytest.mark.parametrize(
    ("samples", "taken"), [(6, (2, 2, 2)), (7, (3, 2, 2)), (8, (3, 3, 2)), (9, (3, 3, 3)), (3, (1, 1, 1))]
)
def test_equal_shares_differ_by_one_at_most_and_earlier_parts_have_more(samples: int, taken: tuple[int, ...]) -> None:
    assert part_counts([9, 3, 3], shares="equal", samples=samples) == taken


@pytest.mark.parametrize(
    ("sizes", "samples", "taken"),
    [
        ([100, 50, 50], 20, (10, 5, 5)),
        ([100, 50, 50], 10, (5, 3, 2)),  # 5, 2.5, 2.5: the tie goes to the earlier part
        ([10, 10, 10], 10, (4, 3, 3)),
        ([7, 2, 1], 6, (4, 1, 1)),  # 4.2, 1.2, 0.6
        ([4, 4], 8, (4, 4)),
    ],
)
def test_proportional_shares_go_by_largest_remainder(sizes: list[int], samples: int, taken: tuple[int, ...]) -> None:
    assert part_counts(sizes, shares="proportional", samples=samples) == taken


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=6), data=st.data())
def test_proportional_shares_add_up_and_stay_within_one_of_the_quota(sizes: Sequence[int], data: st.DataObject) -> None:
    samples = data.draw(st.integers(1, sum(sizes)))
    quotas = [samples * size / sum(sizes) for size in sizes]
    try:
        taken = part_counts(sizes, shares="proportional", samples=samples)
    except CorpusError:
        assert min(quotas) < 1
        return
    assert sum(taken) == samples
    assert all(abs(n - quota) < 1 and n <= size for n, quota, size in zip(taken, quotas, sizes, strict=True))


def test_a_part_that_is_too_small_is_reported() -> None:
    with refused(CorpusError, part=2, expected="at least 3", got=2):
        part_counts([9, 2], shares="equal", samples=6)
    with refused(CorpusError, expected="at least 10", got=9):
        part_counts([9, 2], shares="proportional", samples=12)


@pytest.mark.parametrize(("shares", "sizes"), [("equal", [5, 5, 5]), ("proportional", [90, 90, 1])])
def test_a_part_that_would_contribute_nothing_is_reported(shares: str, sizes: list[int]) -> None:
    with refused(CorpusError, part=3):
        part_counts(sizes, shares=shares, samples=2)


@pytest.mark.parametrize(
    ("shares", "samples", "taken"),
    [
        ((0.5, 0.3, 0.2), 10, (5, 3, 2)),
        ((50, 30, 20), 10, (5, 3, 2)),  # any unit
        ((0.5, 0.3, 0.2), 7, (4, 2, 1)),  # 3.5, 2.1, 1.4
        ((0.1, 0.1, 0.8), 15, (2, 1, 12)),  # 1.5, 1.5, 12: the tie goes to the earlier part
        ((1, 1, 1), 20, (7, 7, 6)),
    ],
)
def test_numeric_shares_go_by_largest_remainder(
    shares: tuple[float, ...], samples: int, taken: tuple[int, ...]
) -> None:
    assert part_counts([100, 100, 100], shares=shares, samples=samples) == taken


@settings(max_examples=25, deadline=None)
@given(shares=st.lists(st.floats(0.01, 5), min_size=1, max_size=5), samples=st.integers(200, 400))
def test_numeric_shares_add_up_and_are_within_one_of_the_exact_quota(shares: list[float], samples: int) -> None:
    try:
        taken = part_counts([400] * len(shares), shares=shares, samples=samples)
    except CorpusError:
        assert min(shares) / sum(shares) * samples < 1
        return
    assert sum(taken) == samples
    assert all(abs(n - samples * share / sum(shares)) < 1 for n, share in zip(taken, shares, strict=True))


def test_without_a_number_numeric_shares_take_the_largest_total_that_the_parts_allow() -> None:
    assert part_counts([100, 100, 10], shares=(0.5, 0.3, 0.2)) == (26, 16, 10)
    for samples in (53, 54, 55):
        with refused(CorpusError, expected="at least 11", got=10):
            part_counts([100, 100, 10], shares=(0.5, 0.3, 0.2), samples=samples)
    assert part_counts([100, 50], shares=(2, 1)) == (100, 50)
    assert part_counts([1, 1000], shares=(1, 99)) == (1, 148)  # 1.49, 147.51; one more is 1.5, 148.5


@pytest.mark.parametrize("share", [0.0, -1.0, float("inf"), float("nan")])
def test_a_share_that_is_not_a_positive_number_is_reported(share: float) -> None:
    with refused(CorpusError, expected="numbers above 0"):
        part_counts([9, 9], shares=(1.0, share), samples=4)


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


def test_texts_in_the_order_of_the_file_come_as_they_are_whatever_the_seed() -> None:
    keys = {line: f"id {line}" for line in range(9)}
    for seed in (0, 1):
        assert drawing_order(keys, seed=seed, left_out={"id 4"}, order="file") == (0, 1, 2, 3, 5, 6, 7, 8)


def test_shuffled_texts_have_the_order_of_the_library_datasets() -> None:
    keys = {line: f"id {line}" for line in range(10)}
    assert drawing_order(keys, seed=0, order="shuffled") == (4, 6, 2, 7, 3, 5, 9, 0, 8, 1)
    assert drawing_order(keys, seed=0, order="shuffled", left_out={"id 2", "id 8"}) == (4, 6, 7, 3, 5, 9, 0, 1)
    library = pytest.importorskip("datasets")
    for seed in (0, 7):
        shuffled = library.Dataset.from_dict({"line": list(range(997))}).shuffle(seed=seed)["line"]
        assert drawing_order({line: line for line in range(997)}, seed=seed, order="shuffled") == tuple(shuffled)


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
        with refused(CorpusError, expected=expected, got=got):
            draw_groups(range(got), **arguments)


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
    with refused(CorpusError, expected="at least 2 demonstrations or 2 shots", got="1 demonstration of 1 shot"):
        unpaired_targets([(4,)])


def test_a_demonstration_without_pairs_has_the_numbers_of_both_sides_in_order() -> None:
    found = build_demonstration("translation", SIDES, numbers=(2, 0), targets=(1, 3), end="|")
    assert found.text == "French: deux|English: one|French: zéro|English: three|"
    assert found.sentence_ids == (2, 1, 0, 3)
    assert [(piece.side, piece.shot) for piece in found.pieces] == [(1, 0), (2, 0), (1, 1), (2, 1)]


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


TOKEN_ROLES_SIDES, OWN = [0, 1, 1, 2, 1, 2, 2], [-1, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("scope", "counted"), [("all", "1111111"), ("source", "0110100"), ("target", "0001011"), ("last_shot", "0000111")]
)
def test_a_scope_counts_its_tokens(scope: TokenScope, counted: str) -> None:
    assert scope_mask(TOKEN_ROLES_SIDES, OWN, scope=scope).tolist() == [flag == "1" for flag in counted]


def test_the_last_shot_is_the_last_one_that_has_tokens() -> None:
    assert scope_mask(TOKEN_ROLES_SIDES[:4], OWN[:4], scope="last_shot").tolist() == [False, True, True, True]
    assert scope_mask([0], [-1], scope="last_shot").tolist() == [False]


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("translation", {"all", "content", "source", "target", "last_shot"}),
        ("monolingual", {"all", "content", "source", "last_shot"}),
        ("code", {"all", "content", "last_shot"}),
        ("text", {"all", "content", "last_shot"}),
        ("task", {"all", "content", "last_shot"}),
    ],
)
def test_a_scope_that_a_kind_does_not_have_is_refused(kind: DemonstrationKind, known: set[str]) -> None:
    assert set(scopes_of(kind)) == known
    for scope in ("all", "source", "target", "last_shot"):
        if scope in known:
            check_scope(kind, scope, profile="corrected", known=scopes_of(kind))
        else:
            with refused(CorpusError, kind=kind, token_scope=scope):
                check_scope(kind, scope, profile="corrected", known=scopes_of(kind))


def test_profile_paper_counts_all_tokens_and_has_no_other_scope() -> None:
    check_scope("translation", "all", profile="paper", known=scopes_of("translation"))
    for scope in ("source", "target", "last_shot"):
        with refused(CorpusError, expected=("all",), kind="translation"):
            check_scope("translation", scope, profile="paper", known=scopes_of("translation"))
