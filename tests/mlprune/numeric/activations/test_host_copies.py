"""Tensors that are copied to the CPU together."""

import pickle

import torch

from mlprune.numeric.activations.host_copies import MAX_BYTES, HostCopies
from tests.pretended_gpus import pretended_gpus

TENSORS = {
    "sums": torch.arange(6.0).reshape(2, 3),
    "on the cpu": torch.ones(2),
    "wide": torch.arange(4, dtype=torch.float64),
    "more sums": torch.arange(5.0).reshape(1, 5),
    "empty": torch.empty(0, 7),
}


def test_tensors_of_one_device_and_dtype_are_copied_with_one_wait_and_keep_their_order() -> None:
    with pretended_gpus(2) as ledger:
        copies = HostCopies[str]()
        for key, tensor in TENSORS.items():
            device = "cpu" if key == "on the cpu" else "cuda:1" if key == "empty" else "cuda:0"
            copies.add(key, tensor.to(device))
        ledger.clear()
        taken = copies.take()
        assert ledger.waits == 3  # float32 and float64 of the first GPU, float32 of the second
        assert copies.take() == {}
    assert list(taken) == list(TENSORS)
    assert all(torch.equal(taken[key], tensor) for key, tensor in TENSORS.items())


def test_a_copied_tensor_is_pickled_without_its_neighbours() -> None:
    with pretended_gpus():
        copies = HostCopies[int]()
        for key in range(20):
            copies.add(key, torch.zeros(1000, device="cuda:0"))
        taken = copies.take()
    assert len(pickle.dumps(taken[3])) < 2 * taken[3].nbytes


def test_only_tensors_on_accelerators_make_copies_large() -> None:
    with pretended_gpus():
        copies = HostCopies[int]()
        copies.add(0, torch.zeros(MAX_BYTES))
        copies.add(1, torch.zeros(MAX_BYTES // 4 - 1, device="cuda:0"))
        assert not copies.is_large
        copies.add(2, torch.zeros(1, device="cuda:0"))
        assert copies.is_large
        copies.take()
        assert not copies.is_large
