"""Counted tokens on the CPU and on pretended GPUs."""

import pickle

import torch

from mlprune.numeric.activations.counted_tokens import CountedTokens
from tests.pretended_gpus import pretended_gpus

MASK = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
VALUES = torch.arange(18.0).reshape(3, 3, 2)
ROWS = [[[0.0, 1.0], [4.0, 5.0]], [], [[12.0, 13.0], [14.0, 15.0], [16.0, 17.0]]]


def test_rows_are_the_counted_tokens_of_each_demonstration() -> None:
    assert [rows.tolist() for rows in CountedTokens(MASK).rows_of(VALUES)] == ROWS
    assert CountedTokens(MASK).ignored_on(torch.device("cpu")).squeeze(2).tolist() == (~MASK).tolist()


def test_each_device_gets_the_mask_and_the_positions_once_and_nothing_waits() -> None:
    with pretended_gpus(2) as ledger:
        counted = CountedTokens(MASK)
        on_gpus = [VALUES.to(f"cuda:{number}") for number in range(2)]
        ledger.clear()
        for values in on_gpus * 3:
            assert counted.ignored_on(values.device).device == values.device
            rows = counted.rows_of(values)
        assert ledger.uploads == 4
        assert ledger.waits == 0
        assert [row.tolist() for row in rows] == ROWS


def test_tokens_can_be_pickled_after_their_copies_on_devices_are_dropped() -> None:
    with pretended_gpus():
        counted = CountedTokens(MASK)
        counted.rows_of(VALUES.to("cuda:0"))
        counted.ignored_on(torch.device("cuda:0"))
        counted.free_devices()
        assert torch.equal(pickle.loads(pickle.dumps(counted)).mask, MASK)
