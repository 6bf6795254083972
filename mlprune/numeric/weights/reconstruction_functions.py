"""Reconstructions by name: functions of the scores that change weights."""

from collections.abc import Callable, Mapping

from mlprune.errors import StatisticsError
from mlprune.methods import Parameters, SparseGptParameters
from mlprune.numeric.weights.layer_inputs import LayerInputs
from mlprune.numeric.weights.reconstruction import Reconstruction
from mlprune.numeric.weights.sparsegpt import sparsegpt

ReconstructionFunction = Callable[[LayerInputs, float, str, Parameters], Reconstruction]
"""Returns the mask and the new weights of a layer, from its inputs, sparsity, structure and parameters.

Raises:
    StatisticsError: the inputs have no Gram matrix, or the function cannot use it.
"""


def _sparsegpt(inputs: LayerInputs, sparsity: float, structure: str, parameters: Parameters) -> Reconstruction:
    if not isinstance(parameters, SparseGptParameters):
        raise TypeError(f"expected SparseGptParameters, got {type(parameters).__name__}")
    if inputs.products is None:
        raise StatisticsError("a score reads Gram matrices, and there are none", block=inputs.block, layer=inputs.layer)
    return sparsegpt(inputs.weight, inputs.products, sparsity=sparsity, structure=structure, damping=parameters.damping)


RECONSTRUCTION_FUNCTIONS: Mapping[str, ReconstructionFunction] = {"sparsegpt": _sparsegpt}
"""Functions of the scores that change weights."""
