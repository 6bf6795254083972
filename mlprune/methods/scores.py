"""Scores: rules by which weights are ordered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlprune.methods.method import NO_PARAMETERS, PLUG_AND_PLAY, WANDA, Parameters, Score, parameter
from mlprune.methods.structures import OF_DEPTH, OF_EXPERTS, OF_WEIGHTS

_REAP = "M. Lasby et al., *REAP the Experts: Why Pruning Prevails for One-Shot MoE Compression*, arXiv:2510.13999"
REMOVED_SCORES: Mapping[str, str] = {"pruner_zero": "0.3"}
"""Scores of earlier versions -> the version that removed them. Their records stay readable and are not reproducible."""


@dataclass(frozen=True)
class RandomParameters(Parameters):
    """Parameters of score random."""

    seed: int = parameter(0, "seed of the draw", ignored_by_others=True)


@dataclass(frozen=True)
class RiaParameters(Parameters):
    """Parameters of score ria."""

    power: float = parameter(0.5, "exponent of the feature norm", above=0)


@dataclass(frozen=True)
class WandaPlusPlusParameters(Parameters):
    """Parameters of score wanda_plus_plus."""

    alpha: float = parameter(100.0, "weight of the gradient", at_least=0)


@dataclass(frozen=True)
class SparseGptParameters(Parameters):
    """Parameters of score sparsegpt."""

    damping: float = parameter(0.01, "share of the mean diagonal that is added to the Hessian", above=0)


@dataclass(frozen=True)
class AlpsParameters(Parameters):
    """Parameters of score alps."""

    damping: float = parameter(0.01, "share of the mean diagonal that is added to the Gram matrix", above=0)
    penalty: float = parameter(0.1, "first penalty of the operator splitting", above=0)
    max_iterations: int = parameter(300, "largest number of iterations of the operator splitting", at_least=1)
    gradient_steps: int = parameter(10, "steps of conjugate gradients on the kept weights", at_least=0)


@dataclass(frozen=True)
class FlapParameters(Parameters):
    """Parameters of score flap."""

    equal_widths: bool = parameter(False, "whether every block loses the same number of heads and of neurons")
    head_power: float = parameter(2.0, "exponent of the scores of the features of heads", above=0)
    compensate: bool = parameter(True, "whether layers get biases with the means of removed inputs")


@dataclass(frozen=True)
class ExpertUseParameters(Parameters):
    """Parameters of score expert_use, and of score contrast with experts."""

    per: Literal["token", "routed"] = parameter(
        "token", "whether the sum is divided by all tokens of the set, or by those that are routed to the expert"
    )
    gate: bool = parameter(True, "whether the gate weight of the token is a factor")
    norm: int = parameter(1, "exponent of the norm of the expert's output for the token", at_least=0, below=3)


def _expert_use(summary: str, formula: str, parameters: ExpertUseParameters, *, citation: str | None = None) -> Score:
    """Return a named setting of score expert_use."""
    short_for = ("expert_use", parameters)
    return Score(summary, citation, formula=formula, needs=("routes",), structures=OF_EXPERTS, short_for=short_for)


SCORES: Mapping[str, Score] = {
    "wanda": Score(
        "magnitude times the norm of the feature that the weight reads",
        citation=WANDA,
        formula="|W[i, j]| * ||X_j||_2",
        needs=("squares",),
    ),
    "contrast": Score(
        "wanda with norms that are large for one demonstration set and small for another",
        citation="H. Kim, J. Suzuki, T. Hirasawa, M. Komachi, *Pruning Multilingual Large Language Models for "
        "Multilingual Inference*, arXiv:2409.16911",
        formula="|W[i, j]| * ||X_j||_2 ** 2 / ||C_j||_2; of experts: s_X ** 2 / s_C with the s of expert_use",
        needs=("squares",),
        has_contrast=True,
        structures=(*OF_WEIGHTS, *OF_EXPERTS),
        parameters=ExpertUseParameters,
        parameters_with=OF_EXPERTS,
    ),
    "expert_use": Score(
        "what an expert does for the tokens that are routed to it; the other scores of experts are settings of it",
        formula="sum over routed tokens of g ** gate * ||f||_2 ** norm / number of all tokens, or of the routed ones",
        needs=("routes",),
        structures=OF_EXPERTS,
        parameters=ExpertUseParameters,
    ),
    "frequency": _expert_use(
        "share of the tokens that are routed to an expert",
        "|T_e| / n",
        ExpertUseParameters("token", gate=False, norm=0),
    ),
    "gate_mass": _expert_use(
        "gate weights of an expert", "sum over T_e of g / n", ExpertUseParameters("token", gate=True, norm=0)
    ),
    "contribution": _expert_use(
        "frequency times reap", "sum over T_e of g * ||f||_2 / n", ExpertUseParameters("token", gate=True, norm=1)
    ),
    "reap": _expert_use(
        "mean of the gated norm of an expert's output",
        "mean over T_e of g * ||f||_2",
        ExpertUseParameters("routed", gate=True, norm=1),
        citation=_REAP,
    ),
    "mean_norm": _expert_use(
        "mean norm of an expert's output",
        "mean over T_e of ||f||_2",
        ExpertUseParameters("routed", gate=False, norm=1),
        citation="arXiv:2606.15716",
    ),
    "mean_square_norm": _expert_use(
        "mean squared norm of an expert's output",
        "mean over T_e of ||f||_2 ** 2",
        ExpertUseParameters("routed", gate=False, norm=2),
        citation="arXiv:2606.15716",
    ),
    "flap": Score(
        "variance of what heads and neurons pass on, times the squared norm of the weights that read it",
        citation="Y. An, X. Zhao, T. Yu, M. Tang, J. Wang, *Fluctuation-based Adaptive Structured Pruning for Large "
        "Language Models*, arXiv:2312.11983",
        formula="Var(x_j) * sum_i W[i, j] ** 2, standardised by layer",
        needs=("squares", "sums"),
        structures=("units",),
        parameters=FlapParameters,
    ),
    "magnitude": Score("magnitude alone", formula="|W[i, j]|"),
    "random": Score(
        "uniform random numbers",
        formula="U(0, 1)",
        parameters=RandomParameters,
        structures=(*OF_WEIGHTS, *OF_DEPTH, *OF_EXPERTS),
    ),
    "block_influence": Score(
        "how much a block turns the hidden states of a demonstration set",
        citation="X. Men et al., *ShortGPT: Layers in Large Language Models are More Redundant Than You Expect*, "
        "arXiv:2403.03853",
        formula="mean over tokens of 1 - cosine of the states before and after the block",
        reads_states=True,
        structures=("blocks",),
    ),
    "sublayer_influence": Score(
        "how much a sub-layer turns the hidden states of a demonstration set",
        formula="mean over tokens of 1 - cosine of the states before and after the sub-layer",
        reads_states=True,
        structures=("sublayers",),
    ),
    "given": Score(
        "the blocks or sub-layers of the scope, all of which are removed", removes_scope=True, structures=OF_DEPTH
    ),
    "ria": Score(
        "relative importance of the weight times a power of the feature norm",
        citation=PLUG_AND_PLAY,
        formula="(|W[i, j]| / sum of column j + |W[i, j]| / sum of row i) * ||X_j||_2 ** power",
        needs=("squares",),
        parameters=RiaParameters,
    ),
    "wanda_plus_plus": Score(
        "wanda plus the gradient of the norm of the block's output",
        citation="Y. Yang et al., *Wanda++: Pruning Large Language Models via Regional Gradients*, arXiv:2503.04992",
        formula="|W[i, j]| * (alpha * G[i, j] + ||X_j||_2), G the root mean square of d ||f_block(X_n)||_2 / d W[i, j]",
        needs=("squares", "gradients"),
        parameters=WandaPlusPlusParameters,
    ),
    "sparsegpt": Score(
        "second-order reconstruction error, with an update of the remaining weights",
        citation="E. Frantar, D. Alistarh, *SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot*, "
        "arXiv:2301.00774",
        formula="W[i, j] ** 2 / U_jj ** 2, U_jj ** 2 = [inverse of the H of columns j and later]_jj",
        needs=("squares", "products"),
        changes_weights=True,
        exact_products=True,
        structures=("matrix", "row", "N:M"),
        parameters=SparseGptParameters,
    ),
    "alps": Score(
        "mask by operator splitting on the reconstruction error, then a fit of the remaining weights",
        citation="X. Meng, K. Behdin, H. Wang, R. Mazumder, *ALPS: Improved Optimization for Highly Sparse One-Shot "
        "Pruning for Large Language Models*, arXiv:2406.07831",
        formula="argmin over sparse W' of the trace of (W - W') H (W - W')^T",
        needs=("squares", "products"),
        changes_weights=True,
        structures=("matrix", "row", "N:M"),
        parameters=AlpsParameters,
        bytes_per_weight=72,
    ),
}


def shortest_name(score: str, parameters: Parameters) -> tuple[str, Parameters]:
    """Return the score of which this one with these parameters is the long form; otherwise both as given."""
    names = [name for name, one in SCORES.items() if one.short_for == (score, parameters)]
    return (names[0], NO_PARAMETERS) if names else (score, parameters)


def scores_of_structures(structures: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scores that take no other structures than these."""
    return tuple(name for name, score in SCORES.items() if set(score.structures) <= set(structures))
