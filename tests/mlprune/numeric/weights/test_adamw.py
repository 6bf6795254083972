"""Draws, rates and cleared gradients of AdamW on kept weights; its steps are tested with the fits that take them."""

from collections import Counter

import pytest
import torch

from mlprune.numeric.weights.adamw import clear_removed, drawn_batches, relative_rate


@pytest.mark.parametrize(("n", "batch", "steps"), [(7, 3, 20), (5, 8, 6), (4, 4, 5), (9, 1, 18)])
def test_every_demonstration_is_read_once_before_one_is_read_again(n: int, batch: int, steps: int) -> None:
    draws = list(drawn_batches(n, batch=batch, steps=steps, seed=2))
    assert len(draws) == steps
    assert all(len(set(of_step)) == len(of_step) == min(batch, n) for of_step in draws)
    for end in range(1, steps + 1):
        counts = Counter(number for of_step in draws[:end] for number in of_step)
        assert max(counts.values()) - min(counts[number] for number in range(n)) <= 1
    assert draws == list(drawn_batches(n, batch=batch, steps=steps, seed=2))
    if batch < n:
        assert draws != list(drawn_batches(n, batch=batch, steps=steps, seed=3))


def test_the_rate_rises_and_then_falls() -> None:
    rates = [relative_rate(step, 100) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[9] == 1
    assert 0 < rates[-1] < 0.01
    assert all(relative_rate(step, steps) > 0 for steps in range(1, 12) for step in range(1, steps + 1))


@pytest.mark.parametrize("shape", [(7,), (3, 5), (300, 1000), (2, 2**19), (0, 4)])
def test_gradients_of_removed_weights_are_cleared_bit_by_bit_as_masked_fill_does(shape: tuple[int, ...]) -> None:
    draw = torch.Generator().manual_seed(0)
    gradient, removed = torch.randn(shape, generator=draw), torch.rand(shape, generator=draw) < 0.5
    if gradient.numel():
        gradient.view(-1)[:3] = torch.tensor([float("inf"), float("nan"), -0.0])
        removed.view(-1)[:3] = torch.tensor([True, True, False])
    expected = gradient.clone().masked_fill_(removed, 0)
    clear_removed(gradient, removed)
    assert torch.equal(gradient.view(torch.int32), expected.view(torch.int32))
