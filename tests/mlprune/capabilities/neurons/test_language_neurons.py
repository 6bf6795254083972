"""Language-specific neurons and removed weights of neurons, compared with plain loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.capabilities.neurons.language_neurons import (
    language_neurons,
    random_neurons,
    removed_after,
    removed_before,
)
from mlprune.errors import ShapeError, StatisticsError
from tests.refusals import refused


@pytest.mark.parametrize("n_layers", [1, 2])
def test_removed_weights_of_a_neuron_are_those_of_its_rows_and_of_its_column(n_layers: int) -> None:
    generator = torch.Generator().manual_seed(3)
    before = torch.rand(n_layers * 5, 7, generator=generator) > 0.6
    after = torch.rand(4, 5, generator=generator) > 0.6
    rows = [sum(bool(before[r, c]) for r in range(len(before)) if r % 5 == j for c in range(7)) for j in range(5)]
    columns = [sum(bool(after[r, j]) for r in range(4)) for j in range(5)]
    assert removed_before(before, 5).tolist() == rows
    assert removed_after(after).tolist() == columns
    with refused(ShapeError, expected="k * 4 rows"):
        removed_before(before, 4)


PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
LANGUAGES = ("en", "fr", "sw")


def looped(
    active: dict[str, list[int]], n_tokens: dict[str, int], share: float, quantile: float
) -> dict[str, set[int]]:
    """The same with lists and sorting by (entropy, neuron)."""
    n_neurons = len(active["en"])
    p = {language: [count / n_tokens[language] for count in counts] for language, counts in active.items()}
    values = sorted(value for of_language in p.values() for value in of_language)
    threshold = values[max(1, round(quantile * len(values))) - 1]
    entropies = []
    for j in range(n_neurons):
        column = [p[language][j] for language in LANGUAGES]
        if max(column) > threshold:
            shares = [value / sum(column) for value in column if value > 0]
            entropies.append((-sum(share * math.log(share) for share in shares), j))
    chosen = [j for _, j in sorted(entropies)[: round(share * n_neurons)]]
    return {language: {j for j in chosen if p[language][j] > threshold} for language in LANGUAGES}


@PROPERTY
@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.3, 1.0]), st.sampled_from([0.0, 0.5, 0.95]))
def test_the_neurons_are_those_of_the_formula(seed: int, share: float, quantile: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    n_tokens = dict(zip(LANGUAGES, (997, 1009, 1013), strict=True))
    active = {name: torch.randint(0, n, (40,), generator=generator) for name, n in n_tokens.items()}
    found = language_neurons(active, n_tokens, share=share, quantile=quantile)
    expected = looped({name: counts.tolist() for name, counts in active.items()}, n_tokens, share, quantile)
    assert {name: set(torch.nonzero(chosen).flatten().tolist()) for name, chosen in found.items()} == expected


def planted() -> dict[str, Tensor]:
    """100 neurons that fire equally often in all languages, but for 7 (only in sw) and 60 (only in fr and sw)."""
    active = {name: torch.full((100,), 10) for name in LANGUAGES}
    for name, counts in ((LANGUAGES[0], (0, 0)), (LANGUAGES[1], (0, 90)), (LANGUAGES[2], (80, 90))):
        active[name][[7, 60]] = torch.tensor(counts)
    return active


def test_a_neuron_that_fires_in_one_language_only_is_the_first() -> None:
    n_tokens = dict.fromkeys(LANGUAGES, 100)
    one = language_neurons(planted(), n_tokens, share=0.01, quantile=0.9)
    assert [int(one[name].sum()) for name in LANGUAGES] == [0, 0, 1]
    assert one["sw"][7]
    two = language_neurons(planted(), n_tokens, share=0.02, quantile=0.9)
    assert torch.nonzero(two["fr"]).tolist() == [[60]]
    assert torch.nonzero(two["sw"]).tolist() == [[7], [60]]
    all_of_them = language_neurons(planted(), n_tokens, share=1.0, quantile=0.9)
    assert {name: int(chosen.sum()) for name, chosen in all_of_them.items()} == {"en": 0, "fr": 1, "sw": 2}


def test_a_control_has_as_many_other_neurons_in_each_block() -> None:
    generator = torch.Generator().manual_seed(0)
    excluded = [torch.rand(50, generator=generator) < share for share in (0.1, 0.0, 0.4)]
    first, again, other = (random_neurons(excluded, seed=seed) for seed in (3, 3, 4))
    assert [int(drawn.sum()) for drawn in first] == [int(of_block.sum()) for of_block in excluded]
    assert not any(bool((drawn & of_block).any()) for drawn, of_block in zip(first, excluded, strict=True))
    assert all(torch.equal(one, same) for one, same in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_what_cannot_be_compared_is_an_error() -> None:
    counts = torch.tensor([1, 2])
    with refused(ShapeError, expected="two or more languages with the same neurons", got="['en'] [(2,)]"):
        language_neurons({"en": counts}, {"en": 5}, share=0.5, quantile=0.5)
    with refused(ShapeError, expected="two or more languages with the same neurons", got="['en', 'fr'] [(1,), (2,)]"):
        language_neurons({"en": counts, "fr": counts[:1]}, {"en": 5, "fr": 5}, share=0.5, quantile=0.5)
    with pytest.raises(StatisticsError):
        language_neurons({"en": counts, "fr": counts}, {"en": 5, "fr": 0}, share=0.5, quantile=0.5)
    with refused(StatisticsError, block=0, expected="at least 2"):
        random_neurons([torch.tensor([True, True, False])], seed=0)
