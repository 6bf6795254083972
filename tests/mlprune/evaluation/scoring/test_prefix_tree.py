"""Where texts are cut, against the cheapest division by hand."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError
from mlprune.evaluation.scoring.prefix_tree import ScoredText, Stem, stems

TEXTS = st.lists(
    st.lists(st.integers(1, 3), min_size=2, max_size=7).map(lambda tokens: ScoredText(tuple(tokens), 1)), max_size=12
)


def n_run(found: list[Stem]) -> int:
    """Tokens that are run."""
    return sum(len(stem.prefix) + sum(stem.rest) for stem in found)


@settings(deadline=None, max_examples=60)
@given(texts=TEXTS)
def test_every_text_stands_once_behind_a_prefix_it_begins_with(texts: list[ScoredText]) -> None:
    found = stems(texts)
    assert sorted(text for stem in found for text in stem.members) == list(range(len(texts)))
    for stem in found:
        for text, n_rest in zip(stem.members, stem.rest, strict=True):
            inputs = texts[text].inputs
            assert inputs[: len(stem.prefix)] == stem.prefix
            assert n_rest == len(inputs) - len(stem.prefix)
        assert list(stem.rest) == sorted(stem.rest, reverse=True)


def least(texts: list[ScoredText]) -> int:
    """Fewest tokens that any division runs, by trying to put each set of texts behind its longest common beginning."""
    best = {0: 0}
    for chosen in range(1, 1 << len(texts)):
        own = [text.inputs for place, text in enumerate(texts) if chosen >> place & 1]
        columns = zip(*own, strict=False)
        shared = len(list(itertools.takewhile(lambda column: len(set(column)) == 1, columns)))
        cost = shared + sum(len(one) - shared for one in own) if shared else 10**6
        best[chosen] = min(
            [cost, *(best[part] + best[chosen - part] for part in range(1, chosen) if part & chosen == part)]
        )
    return best[(1 << len(texts)) - 1]


def test_hardly_any_division_runs_fewer_tokens() -> None:
    draw = random.Random(3)
    excess = []
    for n_texts in (2, 3, 4, 5) * 40:
        lengths = [draw.randint(2, 9) for _ in range(n_texts)]
        texts = [ScoredText(tuple(draw.randint(1, 2) for _ in range(length)), 1) for length in lengths]
        excess.append(n_run(stems(texts)) - least(texts))
    assert set(excess) <= {0, 1}
    assert sum(excess) <= 1


def test_candidates_share_their_question_and_questions_the_head() -> None:
    head, questions, answers = (1,) * 50, ((2, 2, 2), (3, 3, 3)), ((7,), (8, 8))
    texts = [ScoredText(head + question + answer, 1) for question in questions for answer in answers]
    assert n_run(stems(texts)) == 50 + 2 * (3 + 3 + 1)
    lone = [ScoredText(text.tokens[40:], 1) for text in texts[:2]]
    assert n_run(stems(lone)) == 13 + 1


def test_a_text_that_others_continue_stands_with_them() -> None:
    texts = [ScoredText((1, 2, 3, 4), 1), ScoredText((1, 2, 3, 4, 5, 6), 1), ScoredText((1, 2, 3, 7, 8), 1)]
    (stem,) = stems(texts)
    assert (stem.prefix, stem.members, stem.rest) == ((1, 2, 3), (1, 2, 0), (2, 1, 0))


def test_equal_texts_are_run_once() -> None:
    assert n_run(stems([ScoredText((1, 2, 3), 1)] * 5)) == 2


@pytest.mark.parametrize(("tokens", "n_context"), [((1, 2), 0), ((1, 2), 2), ((1,), 1)])
def test_a_text_needs_something_given_and_something_scored(tokens: tuple[int, ...], n_context: int) -> None:
    with pytest.raises(BadInputError, match="nothing is"):
        ScoredText(tokens, n_context)
