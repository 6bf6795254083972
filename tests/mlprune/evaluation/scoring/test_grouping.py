"""Constants of batches and groups per kind of device."""

from typing import get_args

from mlprune.evaluation.scoring.grouping import GROUPINGS, KEYS_PER_TOKEN
from mlprune.recipe import AUTO_BATCH_TOKENS
from mlprune.vocabulary import DeviceName


def test_every_kind_of_device_has_its_constants_and_a_batch_size() -> None:
    assert set(get_args(DeviceName)) == set(GROUPINGS) == set(AUTO_BATCH_TOKENS)


def test_groups_attend_to_fewer_tokens_in_small_batches() -> None:
    grouping = GROUPINGS["cuda"]
    assert grouping.max_keys(10) == 10 * KEYS_PER_TOKEN
    assert grouping.max_keys(10**9) == grouping.max_group_keys
