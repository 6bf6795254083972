"""The examples that the published code evaluates."""

from mlprune.evaluation.tasks.published_examples import published_examples


def test_the_order_is_that_of_the_published_shuffle_of_xnli() -> None:
    """XNLI has 5,010 test examples. These are the first of NumPy's permutation with seed 0."""
    assert published_examples(range(5010), 6) == tuple(sorted([50, 1498, 2596, 3879, 4334, 2413]))


def test_all_items_are_kept_in_their_order_if_there_are_no_more_than_the_limit() -> None:
    assert published_examples("abc", 3) == published_examples("abc", 1000) == ("a", "b", "c")


def test_a_smaller_limit_keeps_a_part_of_a_larger_one() -> None:
    kept = published_examples(range(50), 10)
    assert list(kept) == sorted(kept)
    assert set(published_examples(range(50), 4)) < set(kept)
