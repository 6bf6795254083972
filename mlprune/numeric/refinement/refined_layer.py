"""Result of a refiner for one layer."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class RefinedLayer:
    """A refined mask, and new weights if the refiner makes them."""

    keep: Tensor
    """[out, in] bool, True where the weight stays; as many in every comparison group as before."""
    weight: Tensor | None = None
    """[out, in] float32, exactly 0 where `keep` is False; None if the kept weights have their old values."""
    n_swaps: Tensor | None = None
    """[out] int32: pairs of a removed and a restored weight of each row; None if the refiner does not swap."""
