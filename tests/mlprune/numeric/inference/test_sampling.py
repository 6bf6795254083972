"""Tokens drawn by uniform numbers, compared with loops, and their frequencies."""

import hashlib
import math

import pytest
import torch

from mlprune.errors import BadInputError
from mlprune.numeric.inference.sampling import draw_tokens, uniform_number


def logits(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2


def drawn_by_loops(row: list[float], uniform: float, temperature: float, banned: tuple[int, ...]) -> int:
    """The first token whose cumulative probability exceeds the number."""
    weights = [0.0 if token in banned else math.exp(value / temperature) for token, value in enumerate(row)]
    reached = 0.0
    for token, weight in enumerate(weights):
        reached += weight / sum(weights)
        if uniform < reached:
            return token
    raise AssertionError("the number is below 1")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("banned", [(), (0, 6)])
def test_draws_are_those_of_plain_loops(temperature: float, banned: tuple[int, ...]) -> None:
    table = logits(12, 7)
    uniforms = [uniform_number(3, text, 0) for text in range(12)]
    expected = [
        drawn_by_loops(row, number, temperature, banned) for row, number in zip(table.tolist(), uniforms, strict=True)
    ]
    assert draw_tokens(table, uniforms, temperature=temperature, banned=banned).tolist() == expected
    one_by_one = [
        int(draw_tokens(table[[row]], [uniforms[row]], temperature=temperature, banned=banned)) for row in range(12)
    ]
    assert one_by_one == expected


def test_banned_tokens_are_never_drawn_and_extreme_numbers_give_the_ends() -> None:
    table = torch.zeros(2, 5)
    assert draw_tokens(table, [0.0, 1 - 2**-53], temperature=1.0).tolist() == [0, 4]
    assert draw_tokens(table, [0.0, 1 - 2**-53], temperature=1.0, banned=[0, 4]).tolist() == [1, 3]


def test_temperature_0_is_the_likeliest_token_that_is_not_banned() -> None:
    table = logits(6, 9)
    assert draw_tokens(table, (), temperature=0).tolist() == table.argmax(dim=1).tolist()
    best = table.argmax(dim=1).tolist()
    assert not set(draw_tokens(table, (), temperature=0, banned=best).tolist()) & set(best)


def test_frequencies_are_the_probabilities() -> None:
    row = logits(1, 4)
    uniforms = [uniform_number(0, text, 7) for text in range(4000)]
    counts = torch.bincount(draw_tokens(row.expand(4000, 4), uniforms, temperature=1.0), minlength=4) / 4000
    assert counts.tolist() == pytest.approx(row.softmax(dim=1)[0].tolist(), abs=0.03)


def test_numbers_are_hashes_of_seed_text_and_position() -> None:
    digest = hashlib.sha256(b"5:2:11").digest()
    assert uniform_number(5, 2, 11) == (int.from_bytes(digest[:8], "big") // 2**11) / 2**53
    numbers = {uniform_number(seed, text, place) for seed in range(3) for text in range(3) for place in range(3)}
    assert len(numbers) == 27
    assert all(0 <= number < 1 for number in numbers)


def test_a_negative_temperature_and_missing_numbers_are_errors() -> None:
    with pytest.raises(BadInputError):
        draw_tokens(logits(2, 3), [0.5, 0.5], temperature=-1)
    with pytest.raises(BadInputError):
        draw_tokens(logits(2, 3), [0.5], temperature=1)
