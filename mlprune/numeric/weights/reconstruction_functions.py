"""Reconstructions by name: functions of the scores that change weights."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.methods import AlpsParameters, Parameters, SparseGptParameters, checked_parameters
from mlprune.numeric.weights.alps import alps
from mlprune.numeric.weights.layer_inputs import LayerInputs
from mlprune.numeric.weights.reconstruction import Reconstruction
from mlprune.numeric.weights.sparsegpt import sparsegpt

Chosen = TypeVar("Chosen", bound=Parameters)

ReconstructionFunction = Callable[[LayerInputs, float, str, Parameters], Reconstruction]
"""Returns the mask and the new weights of a layer, from its inputs, sparsity, structure and parameters.

Raises:
    StatisticsError: the inputs have no Gram matrix, or the function cannot use it.
"""


def _with(
    kind: type[Chosen], function: Callable[[Tensor, Tensor, float, str, Chosen], Reconstruction]
) -> ReconstructionFunction:
    """Return a reconstruction that takes parameters of one type, from a function of a weight and a Gram matrix."""

    def reconstruction(inputs: LayerInputs, sparsity: float, structure: str, parameters: Parameters) -> Reconstruction:
        checked = checked_parameters(parameters, kind)
        if inputs.products is None:
            message = "a score reads Gram matrices, and there are none"
            raise StatisticsError(message, block=inputs.block, layer=inputs.layer)
        return function(inputs.weight, inputs.products, sparsity, structure, checked)

    return reconstruction


RECONSTRUCTION_FUNCTIONS: Mapping[str, ReconstructionFunction] = {
    "sparsegpt": _with(
        SparseGptParameters,
        lambda weight, products, sparsity, structure, parameters: sparsegpt(
            weight, products, sparsity=sparsity, structure=structure, damping=parameters.damping
        ),
    ),
    "alps": _with(
        AlpsParameters,
        lambda weight, products, sparsity, structure, parameters: alps(
            weight,
            products,
            sparsity=sparsity,
            structure=structure,
            damping=parameters.damping,
            penalty=parameters.penalty,
            max_iterations=parameters.max_iterations,
            gradient_steps=parameters.gradient_steps,
        ),
    ),
}
"""Functions of the scores that change weights."""
