"""Exponents of weight spectra, compared with float64 loops, and planted spectra."""

import numpy as np
import pytest
import torch

from mlprune.errors import StatisticsError
from mlprune.numeric.allocation.tail_exponents import CUTOFFS, hill_tail, layer_tail, spectrum
from tests.spectra_reference import hill, peak_exponent


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def pareto(exponent: float, n: int) -> np.ndarray:
    """Quantiles of the density proportional to v^-exponent above 1, ascending."""
    return (1 - (np.arange(n) + 0.5) / n) ** (-1 / (exponent - 1))


def with_spectrum(values: np.ndarray, n_rows: int) -> torch.Tensor:
    """A matrix [n_rows, n] with given squared singular values."""
    n = len(values)
    left, _ = torch.linalg.qr(drawn(n_rows, n, seed=1).double())
    right, _ = torch.linalg.qr(drawn(n, n, seed=2).double())
    return left @ torch.diag(torch.from_numpy(np.sqrt(values))) @ right


@pytest.mark.parametrize("shape", [(24, 24), (40, 16), (16, 40)])
def test_spectra_are_squared_singular_values(shape: tuple[int, int]) -> None:
    weight = drawn(*shape)
    expected = np.sort(np.linalg.svd(weight.double().numpy(), compute_uv=False) ** 2)
    assert spectrum(weight) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_exponents_are_those_of_the_published_formulas_written_as_loops(seed: int) -> None:
    weight = drawn(48, 32, seed=seed)
    values = spectrum(weight)
    half = layer_tail(values, "half")
    assert (half.exponent, half.distance) == pytest.approx(hill(values, 16), rel=1e-9)
    assert (half.n, half.smallest) == (16, values[16])
    assert layer_tail(values, "peak").exponent == pytest.approx(peak_exponent(weight.double().numpy()), rel=1e-6)


def test_a_planted_power_law_is_found_from_the_matrix() -> None:
    for exponent in (2.0, 3.5):
        values = spectrum(with_spectrum(pareto(exponent, 120), 150))
        assert hill_tail(values, start=0).exponent == pytest.approx(exponent, rel=0.02)
        for cutoff in CUTOFFS:
            assert layer_tail(values, cutoff).exponent == pytest.approx(exponent, rel=0.1)


def test_scaling_and_transposing_a_matrix_keep_the_exponent_of_the_upper_half() -> None:
    weight = drawn(30, 20)
    exponent = layer_tail(spectrum(weight), "half").exponent
    assert layer_tail(spectrum(weight * 8), "half").exponent == pytest.approx(exponent, rel=1e-9)
    assert layer_tail(spectrum(weight.T), "half").exponent == pytest.approx(exponent, rel=1e-9)


def test_zero_singular_values_do_not_count() -> None:
    copied = drawn(20, 10)
    copied = torch.cat([copied, copied[:, :5]], dim=1)
    assert len(spectrum(copied)) == 10
    assert np.isfinite(layer_tail(spectrum(copied), "peak").exponent)


@pytest.mark.parametrize("cutoff", CUTOFFS)
@pytest.mark.parametrize("weight", [torch.zeros(4, 4), torch.eye(4), torch.ones(4, 4)])
def test_a_matrix_without_different_singular_values_has_no_tail(weight: torch.Tensor, cutoff: str) -> None:
    with pytest.raises(StatisticsError, match="no tail"):
        layer_tail(spectrum(weight), cutoff)  # type: ignore[arg-type]


def test_a_weight_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(StatisticsError, match="not finite"):
        spectrum(torch.tensor([[1.0, float("nan")]]))
