"""Refiners: rules that improve the mask of a score at equal sparsity, or recover the weights that it keeps."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlprune.methods.method import Parameters, Refiner, parameter

_STRUCTURES = ("row", "matrix", "alpha", "N:M")


@dataclass(frozen=True)
class GramSwapsParameters(Parameters):
    """Parameters of refiner gram_swaps."""

    swaps: int = parameter(100, "most swaps of a row", at_least=1)
    shortlist: int = parameter(
        8, "weights that are cheapest to remove or best to restore, of each of a row", at_least=1
    )


@dataclass(frozen=True)
class DsnotParameters(Parameters):
    """Parameters of refiner dsnot."""

    swaps: int = parameter(50, "most swaps of a row", at_least=1)
    threshold: float = parameter(0.1, "expected change of a row's output at which its swaps end", at_least=0)


@dataclass(frozen=True)
class LeastSquaresParameters(Parameters):
    """Parameters of refiner least_squares."""

    swaps: int = parameter(0, "most swaps of a row, as of gram_swaps, before the weights are recovered", at_least=0)
    ridge: float = parameter(0.01, "share of the mean diagonal that is added to the Gram matrix", above=0)


REFINERS: Mapping[str, Refiner] = {
    "gram_swaps": Refiner(
        "swaps of a kept and a removed weight of a row that lower the error of the layer's output",
        citation="M. Zimmer, C. Roux, M. Wagner, D. Hendrych, S. Pokutta, *SparseSwaps: Tractable LLM Pruning Mask "
        "Refinement at Scale*, arXiv:2512.10922",
        formula="least (r + w_p e_p - w_u e_u) G (r + w_p e_p - w_u e_u)^T over kept p and removed u, repeatedly",
        needs=("products",),
        structures=_STRUCTURES,
        parameters=GramSwapsParameters,
    ),
    "dsnot": Refiner(
        "swaps that move the expected change of a row's output towards zero",
        citation="Y. Zhang et al., *Dynamic Sparse No Training: Training-Free Fine-tuning for Sparse LLMs*, "
        "arXiv:2310.08915",
        formula="D[i, j] = W[i, j] * mean sum of x_j; restores the largest D / Var_j, removes the lowest Wanda score",
        needs=("sums",),
        structures=_STRUCTURES,
        parameters=DsnotParameters,
    ),
    "least_squares": Refiner(
        "values of the kept weights that change the layer's output least",
        formula="w_K + (G_KK + ridge * mean(diag G) * I)^-1 G_KP w_P",
        needs=("products",),
        changes_weights=True,
        structures=_STRUCTURES,
        parameters=LeastSquaresParameters,
    ),
}
