"""Schedules: distributions of the sparsity over blocks and layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlprune.methods.method import Parameters, Schedule, parameter


@dataclass(frozen=True)
class GivenParameters(Parameters):
    """Parameters of schedule given."""

    blocks: tuple[tuple[int, float], ...] = ()
    """(block, sparsity)."""
    layers: tuple[tuple[str, float], ...] = ()
    """(layer, sparsity), in blocks that `blocks` does not name."""
    block_layers: tuple[tuple[str, float], ...] = ()
    """(block and layer such as `3.fc1`, sparsity), in place of what `blocks` and `layers` say of this layer."""


@dataclass(frozen=True)
class OwlParameters(Parameters):
    """Parameters of schedule owl."""

    m: float = parameter(5.0, "an outlier is above m times the mean score of its block", above=1)
    spread: float = parameter(0.08, "half the distance between the sparsest and the densest block", above=0, below=0.5)


@dataclass(frozen=True)
class DlpParameters(Parameters):
    """Parameters of schedule dlp."""

    statistic: Literal["mean", "median"] = parameter("mean", "statistic of a block's scores, `mean` or `median`")
    spread: float = parameter(0.15, "half the distance between the sparsest and the densest block", above=0, below=0.5)


@dataclass(frozen=True)
class AlphaPruningParameters(Parameters):
    """Parameters of schedule alpha_pruning."""

    cutoff: Literal["peak", "half"] = parameter(
        "peak", "where the tail of a spectrum starts: near the `peak` of the histogram, or at `half` of the eigenvalues"
    )
    spread: float = parameter(0.3, "largest relative distance from the mean before rescaling", above=0, below=1)


@dataclass(frozen=True)
class SensitivityParameters(Parameters):
    """Parameters of schedule sensitivity."""

    group: str = "outside_english"
    """Languages whose loss counts: `outside_english`, `all`, `worst`, a language, `script:Latn` or `class:2`."""
    spread: float = parameter(0.08, "half the distance between the sparsest and the densest unit", above=0, below=0.5)


SCHEDULES: Mapping[str, Schedule] = {
    "uniform": Schedule("the same share everywhere", is_in_recipe=True),
    "given": Schedule("other shares in named blocks and layers", parameters=GivenParameters, is_in_recipe=True),
    "owl": Schedule(
        "less in blocks whose scores have many outliers",
        citation="L. Yin et al., *Outlier Weighed Layerwise Sparsity (OWL)*, arXiv:2310.05175",
        parameters=OwlParameters,
        needs=("squares",),
    ),
    "dlp": Schedule(
        "less in blocks whose scores are low",
        citation="Y. Chen et al., *DLP: Dynamic Layerwise Pruning in Large Language Models*, arXiv:2505.23807",
        parameters=DlpParameters,
        needs=("squares",),
    ),
    "alpha_pruning": Schedule(
        "less in blocks whose spectra of weights have heavy tails",
        citation="H. Lu et al., *AlphaPruning: Using Heavy-Tailed Self Regularization Theory for Improved Layer-wise "
        "Pruning of Large Language Models*, arXiv:2410.10912",
        parameters=AlphaPruningParameters,
    ),
    "sensitivity": Schedule(
        "less in blocks or layers that cost more when only they are pruned",
        parameters=SensitivityParameters,
        reads_losses=True,
    ),
    "search": Schedule("the levels of the winner of a search, which replace it as schedule given"),
}
