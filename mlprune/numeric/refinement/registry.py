"""Functions of the refiners in `mlprune.methods.REFINERS`, under the same names."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.methods import (
    DsnotParameters,
    GramSwapsParameters,
    LeastSquaresParameters,
    Parameters,
    checked_parameters,
)
from mlprune.numeric.refinement.dsnot import dsnot
from mlprune.numeric.refinement.gram_swaps import gram_swaps, recovered_weights
from mlprune.numeric.refinement.refined_layer import RefinedLayer
from mlprune.numeric.weights.layer_inputs import LayerInputs

Chosen = TypeVar("Chosen", bound=Parameters)
Statistics = TypeVar("Statistics")


class RefinerFunction(Protocol):
    """A function that refines the mask of one layer."""

    def __call__(self, inputs: LayerInputs, keep: Tensor, *, structure: str, parameters: Parameters) -> RefinedLayer:
        """Refine a mask.

        Args:
            inputs: the layer, and the statistics that the registry entry of the refiner needs.
            keep: [out, in] bool, the mask of the score.
            structure: comparison group, such as `row` or `2:4`.
            parameters: of the refiner.
        """


def _with(kind: type[Chosen], function: Callable[[LayerInputs, Tensor, str, Chosen], RefinedLayer]) -> RefinerFunction:
    """Return a refiner function that takes parameters of one type."""

    def refine(inputs: LayerInputs, keep: Tensor, *, structure: str, parameters: Parameters) -> RefinedLayer:
        return function(inputs, keep, structure, checked_parameters(parameters, kind))

    return refine


def _needed(statistics: Statistics | None, name: str, inputs: LayerInputs) -> Statistics:
    """Return statistics that a refiner reads.

    Raises:
        StatisticsError: there are none.
    """
    if statistics is None:
        raise StatisticsError("a refiner lacks statistics", expected=name, block=inputs.block, layer=inputs.layer)
    return statistics


def _gram_swaps(inputs: LayerInputs, keep: Tensor, structure: str, parameters: GramSwapsParameters) -> RefinedLayer:
    return gram_swaps(
        inputs.weight,
        keep,
        products=_needed(inputs.products, "products", inputs),
        structure=structure,
        swaps=parameters.swaps,
        shortlist=parameters.shortlist,
    )


def _dsnot(inputs: LayerInputs, keep: Tensor, structure: str, parameters: DsnotParameters) -> RefinedLayer:
    return dsnot(
        inputs.weight,
        keep,
        moments=_needed(inputs.moments, "sums", inputs),
        structure=structure,
        swaps=parameters.swaps,
        threshold=parameters.threshold,
    )


def _least_squares(
    inputs: LayerInputs, keep: Tensor, structure: str, parameters: LeastSquaresParameters
) -> RefinedLayer:
    products = _needed(inputs.products, "products", inputs)
    n_swaps = None
    if parameters.swaps:
        refined = gram_swaps(inputs.weight, keep, products=products, structure=structure, swaps=parameters.swaps)
        keep, n_swaps = refined.keep, refined.n_swaps
    weight = recovered_weights(inputs.weight, keep, products=products, ridge=parameters.ridge)
    return RefinedLayer(keep=keep, weight=weight, n_swaps=n_swaps)


REFINER_FUNCTIONS: Mapping[str, RefinerFunction] = {
    "gram_swaps": _with(GramSwapsParameters, _gram_swaps),
    "dsnot": _with(DsnotParameters, _dsnot),
    "least_squares": _with(LeastSquaresParameters, _least_squares),
}
