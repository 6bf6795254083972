"""Constants of batches and groups per kind of device."""

import itertools
import random
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError
from mlprune.evaluation.scoring.batches import (
    GROUPINGS,
    KEYS_PER_TOKEN,
    PrefixGroup,
    ScoredText,
    TextBatch,
    plan_texts,
    shared_prefixes,
)
from mlprune.recipe.models import AUTO_BATCH_TOKENS
from mlprune.vocabulary import DeviceName


def test_every_kind_of_device_has_its_constants_and_a_batch_size() -> None:
    assert set(get_args(DeviceName)) == set(GROUPINGS) == set(AUTO_BATCH_TOKENS)


def test_groups_attend_to_fewer_tokens_in_small_batches() -> None:
    grouping = GROUPINGS["cuda"]
    assert grouping.max_keys(10) == 10 * KEYS_PER_TOKEN
    assert grouping.max_keys(10**9) == grouping.max_group_keys


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


BATCHES_TEXTS = st.lists(
    st.lists(st.integers(1, 3), min_size=2, max_size=9).flatmap(
        lambda tokens: st.builds(ScoredText, st.just(tuple(tokens)), st.integers(1, len(tokens) - 1))
    ),
    max_size=12,
)


def read_back(planned: TextBatch) -> dict[int, list[tuple[tuple[int, ...], int]]]:
    """Text -> (all tokens before a scored token, that token), read from the batch."""
    batch = planned.batch
    contexts: list[tuple[int, ...]] = []
    for ids, mask in zip(batch.prefix_ids, batch.prefix_mask, strict=True):
        contexts += [tuple(ids[: position + 1][mask[: position + 1]].tolist()) for position in range(len(ids))]
    for group in batch.groups:
        for ids, mask, parent in zip(group.token_ids, group.mask, group.parent.tolist(), strict=True):
            before = tuple(batch.prefix_ids[parent][batch.prefix_mask[parent]].tolist())
            contexts += [
                before + tuple(ids[: position + 1][mask[: position + 1]].tolist()) for position in range(len(ids))
            ]
    ends = [*planned.starts[1:].tolist(), len(batch.states)]
    scored = {}
    for text, start, end in zip(planned.texts, planned.starts.tolist(), ends, strict=True):
        states, targets = batch.states[start:end].tolist(), batch.targets[start:end].tolist()
        scored[text] = [(contexts[state], target) for state, target in zip(states, targets, strict=True)]
    return scored


@settings(deadline=None, max_examples=25)
@given(texts=BATCHES_TEXTS, batch_tokens=st.integers(1, 40), whole_texts=st.booleans())
def test_every_scored_token_follows_all_tokens_before_it(
    texts: list[ScoredText], batch_tokens: int, whole_texts: bool
) -> None:
    batches = plan_texts(texts, batch_tokens=batch_tokens, whole_texts=whole_texts)
    assert sorted(text for planned in batches for text in planned.texts) == list(range(len(texts)))
    for planned in batches:
        for text, pairs in read_back(planned).items():
            tokens, first = texts[text].tokens, texts[text].n_context
            assert pairs == [(tokens[:position], tokens[position]) for position in range(first, len(tokens))]


@settings(deadline=None, max_examples=25)
@given(texts=BATCHES_TEXTS)
def test_padding_is_before_prefixes_and_after_continuations(texts: list[ScoredText]) -> None:
    for planned in plan_texts(texts, batch_tokens=30):
        mask = planned.batch.prefix_mask.long()
        assert bool((mask.diff(dim=1) >= 0).all())
        assert bool(mask[:, -1].all())
        for group in planned.batch.groups:
            assert bool((group.mask.long().diff(dim=1) <= 0).all())
            assert bool(group.mask[:, 0].all())


@settings(deadline=None, max_examples=25)
@given(texts=BATCHES_TEXTS, batch_tokens=st.integers(1, 60))
def test_whole_texts_have_no_continuations_and_are_padded_on_the_right(
    texts: list[ScoredText], batch_tokens: int
) -> None:
    for planned in plan_texts(texts, batch_tokens=batch_tokens, whole_texts=True):
        batch = planned.batch
        assert batch.groups == ()
        assert bool((batch.prefix_mask.long().diff(dim=1) <= 0).all())
        assert batch.n_computed <= batch_tokens or len(batch.prefix_ids) == 1
        assert set(batch.prefix_mask.sum(dim=1).tolist()) <= {len(texts[text].inputs) for text in planned.texts}


def test_a_text_that_begins_another_is_not_run_again() -> None:
    texts = [ScoredText(tokens, 1) for tokens in ((1, 2, 3), (1, 2, 9), (1, 2, 3, 4, 5), (1, 3, 3, 4), (2, 2))]
    (planned,) = plan_texts(texts, batch_tokens=100, whole_texts=True)
    assert planned.batch.prefix_ids.tolist() == [[2, 0, 0, 0], [1, 3, 3, 0], [1, 2, 3, 4]]
    assert planned.batch.states.tolist() == [8, 9, 8, 9, 8, 9, 10, 11, 4, 5, 6, 0]


@pytest.mark.parametrize("whole_texts", [False, True])
def test_the_order_of_the_texts_does_not_change_the_batches(whole_texts: bool) -> None:
    draw = random.Random(0)
    texts = [ScoredText(tuple(draw.randrange(1, 4) for _ in range(draw.randrange(2, 9))), 1) for _ in range(30)]
    texts = sorted(set(texts), key=lambda text: text.tokens)
    other = draw.sample(texts, len(texts))
    first, second = (plan_texts(given, batch_tokens=40, whole_texts=whole_texts) for given in (texts, other))
    assert [planned.batch.prefix_ids.tolist() for planned in first] == [x.batch.prefix_ids.tolist() for x in second]
    assert [[texts[text] for text in sorted(planned.texts)] for planned in first] == [
        sorted((other[text] for text in planned.texts), key=lambda text: text.tokens) for planned in second
    ]


@settings(deadline=None, max_examples=25)
@given(texts=BATCHES_TEXTS, batch_tokens=st.integers(1, 60))
def test_only_a_long_prefix_exceeds_the_batch_tokens(texts: list[ScoredText], batch_tokens: int) -> None:
    for planned in plan_texts(texts, batch_tokens=batch_tokens):
        n_prefixes, length = planned.batch.prefix_ids.shape
        if planned.batch.n_computed > batch_tokens:
            longest = max((group.token_ids.shape[1] for group in planned.batch.groups), default=0)
            assert n_prefixes == 1
            assert planned.batch.n_computed <= length + max(length, longest, batch_tokens - length)


def test_a_long_prefix_has_as_many_tokens_after_it_as_it_is_long() -> None:
    draw = random.Random(1)
    head = tuple(draw.randrange(1, 9) for _ in range(60))
    texts = [ScoredText(head + tuple(draw.randrange(1, 9) for _ in range(7)), 1) for _ in range(40)]
    planned = plan_texts(texts, batch_tokens=10)
    assert {batch.batch.prefix_ids.shape for batch in planned} == {(1, 60)}
    assert [batch.batch.n_computed for batch in planned] == [120] * 4


@pytest.mark.parametrize(("device", "sizes"), [("cpu", (512, 4096)), ("cuda", (512, 16_384))])
def test_groups_attend_to_few_tokens_and_to_fewer_in_small_batches(device: str, sizes: tuple[int, int]) -> None:
    texts = [ScoredText((1,) * 300 + (number, number, number), 1) for number in range(2, 200)]
    for batch_tokens in sizes:
        batches = plan_texts(texts, batch_tokens=batch_tokens, device=device)
        groups = [group for planned in batches for group in planned.batch.groups]
        n_keys = [len(group.parent) * (300 + group.token_ids.shape[1]) for group in groups]
        most = GROUPINGS[device].max_keys(batch_tokens)
        assert most / 2 < max(n_keys) <= most
    short = [ScoredText((1, number), 1) for number in range(2, 1500)] + [
        ScoredText((1, 1, number, 2, 2), 1) for number in range(2, 1500)
    ]
    batches = plan_texts(short, batch_tokens=16_384, device=device)
    group_sizes = [group.token_ids.numel() for planned in batches for group in planned.batch.groups]
    most = GROUPINGS[device].max_group_tokens
    assert most / 2 < max(group_sizes) <= most


def test_answers_of_one_token_cost_nothing_beyond_the_question() -> None:
    texts = [ScoredText((1, 2, 3, answer), 3) for answer in range(4, 9)]
    planned = plan_texts(texts, batch_tokens=100)
    assert [batch.batch.groups for batch in planned] == [()]
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
    n_computed = sum(batch.batch.n_computed for batch in planned)
    n_real = sum(length + 6 for length in range(5, 26) for _ in range(10))
    assert len(planned) <= 3
    assert n_real <= n_computed < 1.2 * n_real


def test_no_texts_give_no_batch() -> None:
    assert plan_texts([], batch_tokens=10) == []


def test_an_accelerator_gets_fewer_larger_groups_with_more_padding() -> None:
    draw = random.Random(2)
    texts = [
        ScoredText((example, *[1] * draw.randrange(5, 25), 2 + c, *[3] * draw.randrange(4, 30)), 1)
        for example in range(100, 200)
        for c in range(3)
    ]
    groups = {
        device: [
            group for planned in plan_texts(texts, batch_tokens=8192, device=device) for group in planned.batch.groups
        ]
        for device in ("cpu", "cuda")
    }
    assert len(groups["cuda"]) < len(groups["cpu"])
    assert min(group.token_ids.numel() for group in groups["cuda"]) > min(
        group.token_ids.numel() for group in groups["cpu"]
    )
