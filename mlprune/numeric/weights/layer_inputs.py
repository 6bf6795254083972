"""Inputs of a function that scores, refines or reconstructs one layer."""

from dataclasses import dataclass, replace

from torch import Tensor

from mlprune.errors import StatisticsError


@dataclass(frozen=True)
class FeatureMoments:
    """Sums over the counted tokens of demonstrations, for every input feature of a layer."""

    n_demonstrations: float
    """Number of demonstrations, each counted as often as it is drawn."""
    n_tokens: float
    """Number of their counted tokens."""
    sums: Tensor
    """[in], float64: sum over tokens of x_j."""
    squares: Tensor
    """[in], float64: sum over tokens of x_j ** 2."""
    within_variances: Tensor
    """[in], float64: mean over demonstrations of the variance of x_j over the tokens of one demonstration."""


@dataclass(frozen=True)
class LayerInputs:
    """One layer, and the statistics of its inputs."""

    weight: Tensor
    """[out, in], any float dtype."""
    factors: Tensor | None
    """[in], float32; None if the score reads no statistics."""
    block: int
    layer: str
    moments: FeatureMoments | None = None
    """None unless `sums` are read."""
    products: Tensor | None = None
    """[in, in], float64, symmetric: sum over tokens of x x^T, or the combination over sets; None unless read."""
    gradients: Tensor | None = None
    """[out, in], float32: root of the mean over demonstrations of the squared gradient of the norm of the block's
    output by the weight; None unless read."""

    def of_rows(self, rows: slice) -> "LayerInputs":
        """Return some rows of the layer."""
        gradients = None if self.gradients is None else self.gradients[rows]
        return replace(self, weight=self.weight[rows], gradients=gradients)

    @property
    def norms(self) -> Tensor:
        """The factors.

        Raises:
            StatisticsError: there are none.
        """
        if self.factors is None:
            raise StatisticsError("a score reads statistics, and there are none", block=self.block, layer=self.layer)
        return self.factors
