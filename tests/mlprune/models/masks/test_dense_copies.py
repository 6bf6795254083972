"""Dense copies on an accelerator: which weights get one, and what they contain."""

import torch

from mlprune.models.masks.dense_copies import DenseCopies
from tests.pretended_gpus import pretended_gpus


def test_weights_are_copied_until_the_room_is_used() -> None:
    with pretended_gpus():
        gpu = torch.device("cuda:0")
        weights = [torch.full((4, 4), float(n)).to(gpu) for n in range(3)]
        copies = DenseCopies({gpu: 2 * 64})
        for n, weight in enumerate(weights):
            copies.keep((n, "fc1"), weight)
            weight.zero_()
        for n in range(2):
            copy = copies.get((n, "fc1"))
            assert copy is not None
            assert copy.device == gpu
            assert copy.cpu().eq(n).all()
        assert copies.get((2, "fc1")) is None


def test_a_weight_keeps_its_first_copy() -> None:
    with pretended_gpus():
        gpu = torch.device("cuda:0")
        weight = torch.ones(4, 4).to(gpu)
        copies = DenseCopies({gpu: 2**20})
        copies.keep((0, "fc1"), weight)
        copies.keep((0, "fc1"), weight.zero_())
        copy = copies.get((0, "fc1"))
        assert copy is not None
        assert copy.cpu().eq(1).all()


def test_weights_in_main_memory_get_no_copy() -> None:
    copies = DenseCopies({torch.device("cpu"): 2**20})
    copies.keep((0, "fc1"), torch.ones(4, 4))
    assert copies.get((0, "fc1")) is None
