"""Shared prefixes of texts, compared with the cheapest grouping by exhaustive search."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError
from mlprune.evaluation.scoring.prefix_tree import PrefixGroup, ScoredText, shared_prefixes

TEXTS = st.lists(
    st.lists(st.integers(1, 3), min_size=2, max_size=7).map(lambda tokens: ScoredText(tuple(tokens), 1)), max_size=12
)


def n_run(groups: list[PrefixGroup]) -> int:
    """Number of tokens that are run."""
    return sum(len(group.prefix) + sum(group.continuation_lengths) for group in groups)


@settings(deadline=None, max_examples=25)
@given(texts=TEXTS)
def test_every_text_is_in_one_group_and_begins_with_its_prefix(texts: list[ScoredText]) -> None:
    groups = shared_prefixes(texts)
    assert sorted(text for group in groups for text in group.members) == list(range(len(texts)))
    for group in groups:
        for text, length in zip(group.members, group.continuation_lengths, strict=True):
            inputs = texts[text].inputs
            assert inputs[: len(group.prefix)] == group.prefix
            assert length == len(inputs) - len(group.prefix)
        assert list(group.continuation_lengths) == sorted(group.continuation_lengths, reverse=True)


def least(texts: list[ScoredText]) -> int:
    """Fewest tokens that any grouping runs: every set of texts is tried with its longest common prefix."""
    best = {0: 0}
    for subset in range(1, 1 << len(texts)):
        members = [text.inputs for index, text in enumerate(texts) if subset >> index & 1]
        columns = zip(*members, strict=False)
        shared = len(list(itertools.takewhile(lambda column: len(set(column)) == 1, columns)))
        cost = shared + sum(len(inputs) - shared for inputs in members) if shared else 10**6
        best[subset] = min(
            [cost, *(best[part] + best[subset - part] for part in range(1, subset) if part & subset == part)]
        )
    return best[(1 << len(texts)) - 1]


def test_hardly_any_other_grouping_runs_fewer_tokens() -> None:
    draw = random.Random(3)
    excess = []
    for n_texts in (2, 3, 4, 5) * 40:
        lengths = [draw.randint(2, 9) for _ in range(n_texts)]
        texts = [ScoredText(tuple(draw.randint(1, 2) for _ in range(length)), 1) for length in lengths]
        excess.append(n_run(shared_prefixes(texts)) - least(texts))
    assert set(excess) <= {0, 1}
    assert sum(excess) <= 1


def test_candidates_share_their_question_and_questions_their_shots() -> None:
    head, questions, answers = (1,) * 50, ((2, 2, 2), (3, 3, 3)), ((7,), (8, 8))
    texts = [ScoredText(head + question + answer, 1) for question in questions for answer in answers]
    assert n_run(shared_prefixes(texts)) == 50 + 2 * (3 + 3 + 1)
    lone = [ScoredText(text.tokens[40:], 1) for text in texts[:2]]
    assert n_run(shared_prefixes(lone)) == 13 + 1


def test_a_text_that_others_continue_is_in_their_group() -> None:
    texts = [ScoredText((1, 2, 3, 4), 1), ScoredText((1, 2, 3, 4, 5, 6), 1), ScoredText((1, 2, 3, 7, 8), 1)]
    (group,) = shared_prefixes(texts)
    assert (group.prefix, group.members, group.continuation_lengths) == ((1, 2, 3), (1, 2, 0), (2, 1, 0))


def test_equal_texts_are_run_once() -> None:
    assert n_run(shared_prefixes([ScoredText((1, 2, 3), 1)] * 5)) == 2


@pytest.mark.parametrize(("tokens", "n_context"), [((1, 2), 0), ((1, 2), 2), ((1,), 1)])
def test_a_text_needs_a_given_and_a_scored_token(tokens: tuple[int, ...], n_context: int) -> None:
    with pytest.raises(BadInputError, match="nothing is"):
        ScoredText(tokens, n_context)
