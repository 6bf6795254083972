"""Where texts are cut and which are run together, against the texts themselves and the cheapest division by hand."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError
from mlprune.evaluation.branching import ScoredText, TextBatch, plan_texts

TEXTS = st.lists(
    st.lists(st.integers(1, 3), min_size=2, max_size=9).flatmap(
        lambda tokens: st.builds(ScoredText, st.just(tuple(tokens)), st.integers(1, len(tokens) - 1))
    ),
    max_size=12,
)


def read_back(texts: list[ScoredText], planned: TextBatch) -> dict[int, list[tuple[tuple[int, ...], int]]]:
    """Text -> (everything before a scored token, that token), from what the batch says."""
    batch = planned.batch
    contexts: list[tuple[int, ...]] = []
    for ids, mask in zip(batch.prefix_ids, batch.prefix_mask, strict=True):
        contexts += [tuple(ids[: place + 1][mask[: place + 1]].tolist()) for place in range(len(ids))]
    for group in batch.groups:
        for ids, mask, parent in zip(group.token_ids, group.mask, group.parent.tolist(), strict=True):
            before = tuple(batch.prefix_ids[parent][batch.prefix_mask[parent]].tolist())
            contexts += [before + tuple(ids[: place + 1][mask[: place + 1]].tolist()) for place in range(len(ids))]
    ends = [*batch.starts[1:].tolist(), len(batch.states)]
    found = {}
    for text, start, end in zip(planned.texts, batch.starts.tolist(), ends, strict=True):
        states, targets = batch.states[start:end].tolist(), batch.targets[start:end].tolist()
        found[text] = [(contexts[state], target) for state, target in zip(states, targets, strict=True)]
    return found


@settings(deadline=None, max_examples=60)
@given(texts=TEXTS, batch_tokens=st.integers(1, 40))
def test_every_scored_token_stands_behind_all_that_precedes_it(texts: list[ScoredText], batch_tokens: int) -> None:
    batches = plan_texts(texts, batch_tokens=batch_tokens)
    assert sorted(text for planned in batches for text in planned.texts) == list(range(len(texts)))
    for planned in batches:
        for text, pairs in read_back(texts, planned).items():
            tokens, first = texts[text].tokens, texts[text].n_context
            assert pairs == [(tokens[:place], tokens[place]) for place in range(first, len(tokens))]


@settings(deadline=None, max_examples=40)
@given(texts=TEXTS)
def test_padding_stands_before_prefixes_and_behind_what_continues_them(texts: list[ScoredText]) -> None:
    for planned in plan_texts(texts, batch_tokens=30):
        mask = planned.batch.prefix_mask.long()
        assert bool((mask.diff(dim=1) >= 0).all())
        assert bool(mask[:, -1].all())
        for group in planned.batch.groups:
            assert bool((group.mask.long().diff(dim=1) <= 0).all())
            assert bool(group.mask[:, 0].all())


def test_the_order_of_the_texts_does_not_change_the_batches() -> None:
    draw = random.Random(0)
    texts = [ScoredText(tuple(draw.randrange(1, 4) for _ in range(draw.randrange(2, 9))), 1) for _ in range(30)]
    texts = sorted(set(texts), key=lambda text: text.tokens)
    other = draw.sample(texts, len(texts))
    one, two = (plan_texts(given, batch_tokens=40) for given in (texts, other))
    assert [planned.batch.prefix_ids.tolist() for planned in one] == [x.batch.prefix_ids.tolist() for x in two]
    assert [[texts[text] for text in sorted(planned.texts)] for planned in one] == [
        sorted((other[text] for text in planned.texts), key=lambda text: text.tokens) for planned in two
    ]


def n_real(planned: list[TextBatch]) -> int:
    """Tokens that are run, padding left out."""
    masks = [mask for one in planned for mask in (one.batch.prefix_mask, *(group.mask for group in one.batch.groups))]
    return sum(int(mask.sum()) for mask in masks)


def test_candidates_share_their_question_and_questions_the_head() -> None:
    head, questions, answers = (1,) * 50, ((2, 2, 2), (3, 3, 3)), ((7,), (8, 8))
    texts = [ScoredText(head + question + answer, 1) for question in questions for answer in answers]
    assert n_real(plan_texts(texts, batch_tokens=1000)) == 50 + 2 * (3 + 3 + 1)
    lone = [ScoredText(text.tokens[40:], 1) for text in texts[:2]]
    assert n_real(plan_texts(lone, batch_tokens=1000)) == 13 + 1


def test_answers_of_one_token_cost_nothing_beyond_the_question() -> None:
    texts = [ScoredText((1, 2, 3, answer), 3) for answer in range(4, 9)]
    planned = plan_texts(texts, batch_tokens=100)
    assert [one.batch.groups for one in planned] == [()]
    assert planned[0].batch.prefix_ids.tolist() == [[1, 2, 3]]
    assert torch.equal(planned[0].batch.states, torch.full((5,), 2))


def test_equal_texts_are_run_once() -> None:
    assert n_real(plan_texts([ScoredText((1, 2, 3), 1)] * 5, batch_tokens=100)) == 2


def test_batches_stay_within_their_tokens_but_where_one_prefix_alone_exceeds_them() -> None:
    draw = random.Random(1)
    head = tuple(draw.randrange(1, 9) for _ in range(60))
    texts = [ScoredText(head + tuple(draw.randrange(1, 9) for _ in range(6)), 1) for _ in range(40)]
    texts += [ScoredText(tuple(draw.randrange(9, 99) for _ in range(draw.randrange(2, 20))), 1) for _ in range(40)]
    planned = plan_texts(texts, batch_tokens=100)
    others = [one for one in planned if one.batch.prefix_ids.shape[1] < 60]
    assert max(n_real([one]) for one in others) <= 100
    behind_head = [one for one in planned if one.batch.prefix_ids.shape[1] == 60]
    assert len(behind_head) > 1
    assert max(n_real([one]) for one in behind_head) <= 2 * 60


def test_nothing_to_score_is_no_batch() -> None:
    assert plan_texts([], batch_tokens=10) == []


@pytest.mark.parametrize(("tokens", "n_context"), [((1, 2), 0), ((1, 2), 2), ((1,), 1)])
def test_a_text_needs_something_given_and_something_scored(tokens: tuple[int, ...], n_context: int) -> None:
    with pytest.raises(BadInputError, match="nothing is"):
        ScoredText(tokens, n_context)
