from itertools import pairwise

import pytest
import torch

from mlprune.models.inference.block_batching import GroupLimit, group_limit, grouped, together
from mlprune.models.inference.capturing import CaptureBatch
from mlprune.models.messages import Continuations, DecodeStep, ScoringBatch, TokenBatch
from mlprune.models.placement.memory_estimate import GROUP_BYTES, footprint
from tests.tiny_models import save_tiny_model

LIMIT = GroupLimit(per_token=100, per_row=1000, per_input=50, n_bytes=10_000)


def token_batch(n_rows, length):
    mask = torch.ones(n_rows, length, dtype=torch.bool)
    return TokenBatch(mask.long(), mask, mask)


def test_groups_hold_what_their_limit_allows_in_order_and_at_least_one_item():
    sizes = [(1, 10), (1, 10), (2, 10), (1, 90), (1, 2), (3, 2)]
    items = [token_batch(*size) for size in sizes]
    cost = [n * (length * (100 + 4 * length) + 1000) for n, length in sizes]
    groups = list(grouped(items, LIMIT))
    assert [id(item) for group in groups for item in group] == [id(item) for item in items]
    assert [len(group) for group in groups] == [3, 1, 2]
    costs = [cost[:3], cost[3:4], cost[4:]]
    assert all(sum(group) <= LIMIT.n_bytes or len(group) == 1 for group in costs)
    assert all(sum(group) + after[0] > LIMIT.n_bytes for group, after in pairwise(costs))


def test_decoding_steps_cost_nothing():
    mask = torch.ones(4, 5, dtype=torch.bool)
    step = DecodeStep("key", mask.long(), mask)
    assert [len(group) for group in grouped([step] * 50, LIMIT)] == [50]
    assert list(grouped([], LIMIT)) == []


def test_activations_that_are_kept_cost_their_tokens_at_every_wanted_input():
    mask = torch.ones(1, 10, dtype=torch.bool)
    for wanted, n in (({}, 4), ({0: ("fc1",), 1: ("fc1", "fc2")}, 2)):
        batch = CaptureBatch(mask.long(), mask, mask, wanted)
        assert [len(group) for group in grouped([batch] * n * 2, LIMIT)] == [n, n]


def test_texts_to_score_cost_their_tokens_with_all_that_continues_them():
    mask = torch.ones(2, 5, dtype=torch.bool)
    after = Continuations(mask.long(), mask, torch.tensor([0, 0]))
    batch = ScoringBatch(mask[:1].long(), mask[:1], (after, after), torch.tensor([0]), torch.tensor([3]))
    assert batch.n_computed == 25
    assert [len(group) for group in grouped([batch] * 5, LIMIT)] == [2, 2, 1]


def test_items_are_drawn_a_group_at_a_time():
    drawn = []

    def items():
        for n in range(9):
            drawn.append(n)
            yield token_batch(1, 40)

    groups = grouped(items(), LIMIT)
    assert len(next(groups)) == 1
    assert drawn == [0, 1]


def test_the_limit_of_a_model_counts_its_states_and_its_sums(tmp_path):
    sizes = footprint(save_tiny_model(tmp_path), "float32")
    limit = group_limit(sizes)
    assert limit == GroupLimit(4 * 16 * 4, 4 * 3 * (7 * 16 + 16), 64 * 4, GROUP_BYTES)


def steps(name, log, parts):
    for part in parts:
        yield part
        log.append((name, part))
    return name.upper()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_all_go_through_a_part_before_any_enters_the_next(threads, n_threads):
    threads(n_threads)
    log = []
    found = together(
        [steps(name, log, (-1, 0, 1)) for name in "abc"], lambda part: log.append(("enter", part)), alone=frozenset({1})
    )
    assert found == ["A", "B", "C"]
    assert [log.index(("enter", part)) for part in (-1, 0, 1)] == [0, 4, 8]
    assert all({one for one, _ in log[start + 1 : start + 4]} == set("abc") for start in (0, 4, 8))


def test_no_passes_and_passes_without_parts_enter_nothing():
    assert together([], lambda part: pytest.fail(str(part)), alone=frozenset()) == []
    assert together([steps("a", [], ())], lambda part: pytest.fail(str(part)), alone=frozenset()) == ["A"]


def test_an_error_of_one_pass_is_that_of_all():
    def broken():
        yield 0
        raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        together([steps("a", [], (0,)), broken()], lambda part: None, alone=frozenset())
