"""Plans of scoring: nothing lost, nothing computed twice, bounds kept."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import TaskFileError
from mlprune.evaluation.batches import BATCH_COST, PlannedBatch, plan_scoring

PROPERTY = settings(max_examples=80, deadline=None, derandomize=True, database=None)

Examples = list[list[list[int]]]

TOKENS = st.lists(st.integers(1, 3), min_size=0, max_size=6)


@st.composite
def examples(draw: st.DrawFn) -> Examples:
    beginnings = draw(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=8), min_size=1, max_size=3))
    drawn: Examples = []
    for _ in range(draw(st.integers(1, 12))):
        beginning = draw(st.sampled_from(beginnings))
        endings = draw(st.lists(TOKENS, min_size=1, max_size=4))
        candidates = [[*beginning, *ending, *([1] if len(beginning) + len(ending) < 2 else [])] for ending in endings]
        if draw(st.booleans()):
            candidates = [[index + 1, *tokens] for index, tokens in enumerate(candidates)]
        drawn.append(candidates)
    return drawn


def texts_of(planned: PlannedBatch) -> list[list[int]]:
    batch = planned.batch
    return [
        batch.prefix_ids[int(batch.parent[row])].tolist() + batch.suffix_ids[row][batch.suffix_mask[row]].tolist()
        for row in range(len(planned.rows))
    ]


def cost(plan: list[PlannedBatch]) -> int:
    return sum(planned.n_computed + BATCH_COST for planned in plan)


@PROPERTY
@given(examples(), st.integers(1, 200))
def test_every_candidate_is_there_once_with_its_tokens(drawn: Examples, batch_tokens: int) -> None:
    plan = plan_scoring(drawn, batch_tokens=batch_tokens)
    rows = [row for planned in plan for row in planned.rows]
    assert sorted(rows) == [(e, c) for e, candidates in enumerate(drawn) for c in range(len(candidates))]
    for planned in plan:
        assert texts_of(planned) == [drawn[example][candidate] for example, candidate in planned.rows]


@PROPERTY
@given(examples(), st.integers(1, 200))
def test_batches_hold_whole_examples_distinct_prefixes_and_right_padding(drawn: Examples, batch_tokens: int) -> None:
    plan = plan_scoring(drawn, batch_tokens=batch_tokens)
    owners = [{example for example, _ in planned.rows} for planned in plan]
    assert sum(map(len, owners)) == len(drawn)
    for planned in plan:
        batch = planned.batch
        prefixes = [tuple(prefix) for prefix in batch.prefix_ids.tolist()]
        assert len(set(prefixes)) == len(prefixes)
        assert set(batch.parent.tolist()) == set(range(len(prefixes)))
        assert batch.suffix_mask[:, 0].all()
        assert (batch.suffix_mask.long().diff(dim=1) <= 0).all()
        assert (batch.suffix_ids[~batch.suffix_mask] == 0).all()


@PROPERTY
@given(examples(), st.integers(1, 200))
def test_only_a_single_example_may_exceed_the_bound(drawn: Examples, batch_tokens: int) -> None:
    for planned in plan_scoring(drawn, batch_tokens=batch_tokens):
        if planned.n_computed > batch_tokens:
            assert len({example for example, _ in planned.rows}) == 1


@PROPERTY
@given(examples(), st.integers(1, 2000))
def test_a_plan_costs_no_more_than_one_batch_an_example_and_is_repeated(drawn: Examples, batch_tokens: int) -> None:
    plan = plan_scoring(drawn, batch_tokens=batch_tokens)
    assert cost(plan) <= sum(cost(plan_scoring([one], batch_tokens=batch_tokens)) for one in drawn)
    again = plan_scoring(drawn, batch_tokens=batch_tokens)
    assert [planned.rows for planned in plan] == [planned.rows for planned in again]
    assert all(one.batch.prefix_ids.equal(two.batch.prefix_ids) for one, two in zip(plan, again, strict=True))


def common_length(candidates: list[list[int]]) -> int:
    columns = zip(*(tokens[:-1] for tokens in candidates), strict=False)
    return len(list(itertools.takewhile(lambda column: len(set(column)) == 1, columns)))


def cheapest_division(ordered: Examples, batch_tokens: int) -> int:
    """Least cost of any division into runs, by trying all of them; examples share no prefix."""
    best = 10**9
    for cuts in itertools.product((False, True), repeat=len(ordered) - 1):
        ends = [place + 1 for place, is_cut in enumerate(cuts) if is_cut] + [len(ordered)]
        runs = [ordered[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        total = 0
        for run in runs:
            texts = [tokens for candidates in run for tokens in candidates]
            prefix = min(common_length(candidates) for candidates in run)
            tokens = len(run) * prefix + len(texts) * (max(map(len, texts)) - prefix)
            total += BATCH_COST + tokens if tokens <= batch_tokens or len(run) == 1 else 10**9
        best = min(best, total)
    return best


@PROPERTY
@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.lists(st.integers(1, 30), min_size=1, max_size=4)), min_size=1, max_size=7
    ),
    st.integers(1, 900),
)
def test_no_other_division_of_the_order_is_cheaper(lengths: list[tuple[int, list[int]]], batch_tokens: int) -> None:
    drawn = [
        [[number] * shared + [100 + index] * own for index, own in enumerate(owns)]
        for number, (shared, owns) in enumerate(lengths)
    ]
    plan = plan_scoring(drawn, batch_tokens=batch_tokens)
    order = dict.fromkeys(example for planned in plan for example, _ in planned.rows)
    assert cost(plan) == cheapest_division([drawn[example] for example in order], batch_tokens)


def test_a_prefix_that_examples_share_is_computed_once() -> None:
    premise = list(range(10, 40))
    drawn = [[[*premise, label, hypothesis, 5] for label in (1, 2, 3)] for hypothesis in (7, 8, 9)]
    (planned,) = plan_scoring(drawn, batch_tokens=4096)
    assert planned.batch.prefix_ids.tolist() == [premise]
    assert planned.n_computed == 30 + 9 * 3


def test_candidates_that_differ_from_the_start_keep_their_first_token_as_prefix() -> None:
    (planned,) = plan_scoring([[[1, 5, 5], [2, 5]]], batch_tokens=4096)
    assert planned.batch.prefix_ids.tolist() == [[1], [2]]
    assert planned.batch.suffix_ids.tolist() == [[5, 5], [5, 0]]


def test_a_candidate_that_another_continues_still_has_a_suffix() -> None:
    (planned,) = plan_scoring([[[1, 2, 3], [1, 2, 3, 4]]], batch_tokens=4096)
    assert planned.batch.prefix_ids.tolist() == [[1, 2]]
    assert planned.batch.suffix_ids.tolist() == [[3, 0], [3, 4]]


def test_many_prefix_lengths_do_not_become_many_small_batches() -> None:
    drawn = [
        [[example] * length + [c, *[5] * (c % 3)] for c in range(6)]
        for length in range(5, 26)
        for example in range(100 * length, 100 * length + 10)
    ]
    plan = plan_scoring(drawn, batch_tokens=4096)
    by_length = [plan_scoring(drawn[start : start + 10], batch_tokens=4096) for start in range(0, len(drawn), 10)]
    assert len(by_length) == 21
    assert len(plan) < len(by_length) / 2
    assert cost(plan) < 0.9 * sum(map(cost, by_length))


def test_no_examples_need_no_batches() -> None:
    assert plan_scoring([], batch_tokens=10) == []


def test_texts_that_are_too_short_or_too_long_name_their_example() -> None:
    with pytest.raises(TaskFileError, match="too short") as caught:
        plan_scoring([[[1, 2]], [[1, 2], [1]]], batch_tokens=10, example_ids=["a", "b"])
    assert (caught.value.context["example"], caught.value.context["candidate"]) == ("b", 1)
    with pytest.raises(TaskFileError, match="longer than the model's positions") as caught:
        plan_scoring([[[1, 2, 3]], [[1] * 4]], batch_tokens=10, max_positions=3, example_ids=["a", "b"])
    assert caught.value.context == {"example": "b", "candidate": 0, "expected": "at most 3 tokens", "got": 4}
