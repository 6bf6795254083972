"""Block ranges of shards."""

import pytest

from mlprune.errors import ModelError
from mlprune.models.block_ranges import plan_spans, shard_of
from tests.refusals import refused


def test_spans_are_consecutive_and_balanced():
    assert plan_spans(7, 3) == (range(3), range(3, 5), range(5, 7))
    for n_blocks in range(1, 9):
        for n_shards in range(1, n_blocks + 1):
            spans = plan_spans(n_blocks, n_shards)
            assert [block for span in spans for block in span] == list(range(n_blocks))
            assert max(map(len, spans)) - min(map(len, spans)) <= 1


@pytest.mark.parametrize("n_shards", [0, 4])
def test_zero_shards_or_more_shards_than_blocks_are_an_error(n_shards):
    with refused(ModelError, expected="1 to 3 shards"):
        plan_spans(3, n_shards)


def test_the_shard_of_a_block_is_found_by_its_range():
    spans = plan_spans(5, 2)
    assert [shard_of(spans, block) for block in range(5)] == [0, 0, 0, 1, 1]
    with refused(ModelError, expected="0 to 4", got=5):
        shard_of(spans, 5)
