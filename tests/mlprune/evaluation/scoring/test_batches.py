"""What batches say of texts, against the texts themselves, and how large they are."""

import random

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.evaluation.scoring.batches import KEYS_PER_TOKEN, MAX_GROUP_KEYS, MAX_GROUP_TOKENS, TextBatch, plan_texts
from mlprune.evaluation.scoring.prefix_tree import ScoredText

TEXTS = st.lists(
    st.lists(st.integers(1, 3), min_size=2, max_size=9).flatmap(
        lambda tokens: st.builds(ScoredText, st.just(tuple(tokens)), st.integers(1, len(tokens) - 1))
    ),
    max_size=12,
)


def read_back(planned: TextBatch) -> dict[int, list[tuple[tuple[int, ...], int]]]:
    """Text -> (everything before a scored token, that token), from what the batch says."""
    batch = planned.batch
    contexts: list[tuple[int, ...]] = []
    for ids, mask in zip(batch.prefix_ids, batch.prefix_mask, strict=True):
        contexts += [tuple(ids[: place + 1][mask[: place + 1]].tolist()) for place in range(len(ids))]
    for group in batch.groups:
        for ids, mask, parent in zip(group.token_ids, group.mask, group.parent.tolist(), strict=True):
            before = tuple(batch.prefix_ids[parent][batch.prefix_mask[parent]].tolist())
            contexts += [before + tuple(ids[: place + 1][mask[: place + 1]].tolist()) for place in range(len(ids))]
    ends = [*planned.starts[1:].tolist(), len(batch.states)]
    found = {}
    for text, start, end in zip(planned.texts, planned.starts.tolist(), ends, strict=True):
        states, targets = batch.states[start:end].tolist(), batch.targets[start:end].tolist()
        found[text] = [(contexts[state], target) for state, target in zip(states, targets, strict=True)]
    return found


@settings(deadline=None, max_examples=40)
@given(texts=TEXTS, batch_tokens=st.integers(1, 40))
def test_every_scored_token_stands_behind_all_that_precedes_it(texts: list[ScoredText], batch_tokens: int) -> None:
    batches = plan_texts(texts, batch_tokens=batch_tokens)
    assert sorted(text for planned in batches for text in planned.texts) == list(range(len(texts)))
    for planned in batches:
        for text, pairs in read_back(planned).items():
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


@settings(deadline=None, max_examples=40)
@given(texts=TEXTS, batch_tokens=st.integers(1, 60))
def test_batches_stay_within_their_tokens_but_for_a_long_prefix(texts: list[ScoredText], batch_tokens: int) -> None:
    for planned in plan_texts(texts, batch_tokens=batch_tokens):
        n_prefixes, length = planned.batch.prefix_ids.shape
        if planned.batch.n_computed > batch_tokens:
            longest = max((group.token_ids.shape[1] for group in planned.batch.groups), default=0)
            assert n_prefixes == 1
            assert planned.batch.n_computed <= length + max(length, longest, batch_tokens - length)


def test_a_long_prefix_has_as_many_tokens_behind_it_as_it_has() -> None:
    draw = random.Random(1)
    head = tuple(draw.randrange(1, 9) for _ in range(60))
    texts = [ScoredText(head + tuple(draw.randrange(1, 9) for _ in range(7)), 1) for _ in range(40)]
    planned = plan_texts(texts, batch_tokens=10)
    assert {one.batch.prefix_ids.shape for one in planned} == {(1, 60)}
    assert [one.batch.n_computed for one in planned] == [120] * 4


def test_groups_look_back_at_few_tokens_and_at_fewer_in_small_batches() -> None:
    texts = [ScoredText((1,) * 300 + (place, place, place), 1) for place in range(2, 200)]
    for batch_tokens in (512, 4096):
        groups = [group for one in plan_texts(texts, batch_tokens=batch_tokens) for group in one.batch.groups]
        n_keys = [len(group.parent) * (300 + group.token_ids.shape[1]) for group in groups]
        most = min(KEYS_PER_TOKEN * batch_tokens, MAX_GROUP_KEYS)
        assert most / 2 < max(n_keys) <= most
    short = [ScoredText((1, place), 1) for place in range(2, 1500)] + [
        ScoredText((1, 1, place, 2, 2), 1) for place in range(2, 1500)
    ]
    sizes = [group.token_ids.numel() for one in plan_texts(short, batch_tokens=4096) for group in one.batch.groups]
    assert max(sizes) <= MAX_GROUP_TOKENS


def test_answers_of_one_token_cost_nothing_beyond_the_question() -> None:
    texts = [ScoredText((1, 2, 3, answer), 3) for answer in range(4, 9)]
    planned = plan_texts(texts, batch_tokens=100)
    assert [one.batch.groups for one in planned] == [()]
    assert planned[0].batch.prefix_ids.tolist() == [[1, 2, 3]]
    assert torch.equal(planned[0].batch.states, torch.full((5,), 2))


def test_texts_of_many_lengths_do_not_become_many_small_batches() -> None:
    texts = [
        ScoredText((example,) * length + (c, *[5] * (c % 3)), 1)
        for length in range(5, 26)
        for example in range(100 * length, 100 * length + 10)
        for c in range(6)
    ]
    planned = plan_texts(texts, batch_tokens=4096)
    n_computed = sum(one.batch.n_computed for one in planned)
    n_real = sum(length + 6 for length in range(5, 26) for _ in range(10))
    assert len(planned) <= 3
    assert n_real <= n_computed < 1.2 * n_real


def test_nothing_to_score_is_no_batch() -> None:
    assert plan_texts([], batch_tokens=10) == []
