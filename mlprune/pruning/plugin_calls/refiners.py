"""Refinement of the mask of a layer by a plug-in, checked."""

import torch
from torch import Tensor

from mlprune.methods.plugins import PluginParameters, PluginSource, RefinerPlugin, typed_parameters
from mlprune.numeric.refinement.checks import kept_counts
from mlprune.numeric.refinement.refined_layer import RefinedLayer
from mlprune.numeric.weights.layer_inputs import LayerInputs
from mlprune.pruning.plugin_calls.calls import PluginCall, call_checked, tensor_text


def plugin_refined_layer(
    plugin: RefinerPlugin,
    inputs: LayerInputs,
    keep: Tensor,
    *,
    structure: str,
    parameters: PluginParameters,
    source: PluginSource,
    repeats: bool,
) -> RefinedLayer:
    """Return the refined mask of one layer, and its new weights.

    Args:
        keep: [out, in] bool, the mask of the score.
        structure: the comparison group, such as `row` or `2:4`.
        repeats: whether the plug-in is called twice, to compare the results.
    Raises:
        PluginError: the plug-in breaks the contract of refiners.
    """
    call = PluginCall("refiner", plugin.name, source, inputs.block, inputs.layer)
    before = kept_counts(keep, structure)

    def check(result: object) -> RefinedLayer:
        if not isinstance(result, RefinedLayer):
            raise call.error("a plug-in returns no RefinedLayer", got=type(result).__name__)
        _check_tensor(call, "keep", result.keep, like=keep, dtype=torch.bool)
        if not torch.equal(counts := kept_counts(result.keep, structure), before):
            n_wrong = int((counts != before).sum())
            message = "a plug-in changes the sparsity of a comparison group"
            raise call.error(message, structure=structure, n_groups=n_wrong)
        if result.weight is not None:
            _check_weight(call, plugin, result.weight, keep=result.keep)
        if result.n_swaps is not None:
            _check_tensor(call, "n_swaps", result.n_swaps, like=keep[:, 0], dtype=torch.int32)
        return result

    arguments = (inputs, keep, structure, typed_parameters(plugin.parameters, parameters))
    return call_checked(call, plugin.function, arguments, check=check, repeats=repeats)


def _check_weight(call: PluginCall, plugin: RefinerPlugin, weight: Tensor, *, keep: Tensor) -> None:
    if not plugin.changes_weights:
        raise call.error("a plug-in returns weights", expected="changes_weights=True, or weight=None")
    _check_tensor(call, "weight", weight, like=keep, dtype=torch.float32)
    if not bool(torch.isfinite(weight).all()):
        raise call.error("a weight is not finite", n_wrong=int((~torch.isfinite(weight)).sum()))
    if bool(weight.masked_select(~keep).any()):
        raise call.error("a removed weight is not 0", expected="0 where keep is False")


def _check_tensor(call: PluginCall, name: str, value: object, *, like: Tensor, dtype: torch.dtype) -> None:
    """Check the shape, dtype and device of a field of the result."""
    expected = tensor_text(like.shape, dtype, like.device)
    if not isinstance(value, Tensor):
        raise call.error(f"{name} is not a tensor", expected=expected, got=type(value).__name__)
    if (value.shape, value.dtype, value.device) != (like.shape, dtype, like.device):
        got = tensor_text(value.shape, value.dtype, value.device)
        raise call.error(f"{name} has another shape, dtype or device", expected=expected, got=got)
