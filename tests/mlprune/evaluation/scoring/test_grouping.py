"""Constants of batches and groups per kind of device."""

import pytest

from mlprune.errors import BadInputError
from mlprune.evaluation.scoring.grouping import GROUPINGS, KEYS_PER_TOKEN, grouping_for
from mlprune.recipe import AUTO_BATCH_TOKENS


def test_every_kind_of_device_with_a_batch_size_has_its_constants() -> None:
    assert GROUPINGS.keys() == AUTO_BATCH_TOKENS.keys()
    for device in GROUPINGS:
        assert grouping_for(device) == GROUPINGS[device]


def test_groups_attend_to_fewer_tokens_in_small_batches() -> None:
    grouping = grouping_for("cuda")
    assert grouping.max_keys(10) == 10 * KEYS_PER_TOKEN
    assert grouping.max_keys(10**9) == grouping.max_group_keys


def test_an_unknown_kind_of_device_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(BadInputError) as caught:
        grouping_for("tpu")
    assert "tpu" in str(caught.value)
    assert "cuda" in str(caught.value)
