"""Sizes of the parts of a mixed set."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.corpus.part_sizes import part_counts
from mlprune.errors import CorpusError


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
    with pytest.raises(CorpusError, match="too few") as caught:
        part_counts([9, 2], shares="equal", samples=6)
    assert (caught.value.context["part"], caught.value.context["expected"], caught.value.context["got"]) == (
        2,
        "at least 3",
        2,
    )
    with pytest.raises(CorpusError, match="too few"):
        part_counts([9, 2], shares="proportional", samples=12)


@pytest.mark.parametrize(("shares", "sizes"), [("equal", [5, 5, 5]), ("proportional", [90, 90, 1])])
def test_a_part_that_would_contribute_nothing_is_reported(shares: str, sizes: list[int]) -> None:
    with pytest.raises(CorpusError, match="no demonstration") as caught:
        part_counts(sizes, shares=shares, samples=2)
    assert caught.value.context["part"] == 3


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
        with pytest.raises(CorpusError, match="too few"):
            part_counts([100, 100, 10], shares=(0.5, 0.3, 0.2), samples=samples)
    assert part_counts([100, 50], shares=(2, 1)) == (100, 50)
    assert part_counts([1, 1000], shares=(1, 99)) == (1, 148)  # 1.49, 147.51; one more is 1.5, 148.5


@pytest.mark.parametrize("share", [0.0, -1.0, float("inf"), float("nan")])
def test_a_share_that_is_not_a_positive_number_is_reported(share: float) -> None:
    with pytest.raises(CorpusError, match="positive"):
        part_counts([9, 9], shares=(1.0, share), samples=4)
