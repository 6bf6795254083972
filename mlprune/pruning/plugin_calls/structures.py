"""Levels of the weights of a layer by the structure of a plug-in, checked."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mlprune.methods import Parameters
from mlprune.methods.plugins import PluginParameters, PluginSource, StructurePlugin, typed_parameters
from mlprune.numeric.selection.levels import n_removed
from mlprune.pruning.plugin_calls.calls import PluginCall, call_checked, tensor_text


def plugin_levels(
    plugin: StructurePlugin,
    scores: Tensor,
    *,
    sparsities: Sequence[float],
    parameters: PluginParameters,
    source: PluginSource,
    position: tuple[int, str],
    repeats: bool,
) -> Tensor:
    """Return the index of the first sparsity that removes a weight, or their number if the weight always stays.

    Args:
        scores: [out, in], float32, finite and >= 0.
        sparsities: ascending, each in [0, 1).
        position: block and layer, for messages.
        repeats: whether the plug-in is called twice at every sparsity, to compare the results.
    Returns: [out, in], uint8.
    Raises:
        PluginError: the plug-in breaks the contract of structures.
    """
    call = PluginCall("structure", plugin.name, source, *position)
    typed = typed_parameters(plugin.parameters, parameters)
    levels = torch.full(scores.shape, len(sparsities), dtype=torch.uint8, device=scores.device)
    for level, sparsity in enumerate(sparsities):
        if sparsity == 0:
            continue
        keep = _kept(call, plugin, scores, sparsity=sparsity, parameters=typed, repeats=repeats)
        n_restored = int((keep & (levels < len(sparsities))).sum())
        if n_restored:
            expected = "masks that nest, or masks_nest=False"
            raise call.error("a plug-in keeps weights that a lower sparsity removes", expected=expected, got=n_restored)
        levels[~keep & (levels == len(sparsities))] = level
    return levels


def _kept(
    call: PluginCall,
    plugin: StructurePlugin,
    scores: Tensor,
    *,
    sparsity: float,
    parameters: Parameters,
    repeats: bool,
) -> Tensor:
    """Return the kept weights at one sparsity, [out, in] bool."""
    n_expected = _expected_number(call, plugin, scores, sparsity=sparsity, parameters=parameters)

    def check(keep: object) -> Tensor:
        expected = f"a tensor {tensor_text(scores.shape, torch.bool, scores.device)}"
        if not isinstance(keep, Tensor):
            raise call.error("a plug-in returns no tensor", expected=expected, got=type(keep).__name__)
        if (keep.shape, keep.dtype, keep.device) != (scores.shape, torch.bool, scores.device):
            got = tensor_text(keep.shape, keep.dtype, keep.device)
            raise call.error("a mask has another shape, dtype or device", expected=expected, got=got)
        if (n_found := keep.numel() - int(keep.sum())) != n_expected:
            message = "a plug-in removes another number of weights"
            raise call.error(message, sparsity=sparsity, expected=n_expected, got=n_found)
        return keep

    return call_checked(call, plugin.function, (scores, sparsity, parameters), check=check, repeats=repeats)


def _expected_number(
    call: PluginCall, plugin: StructurePlugin, scores: Tensor, *, sparsity: float, parameters: Parameters
) -> int:
    """Return the number of weights that a sparsity removes, as the plug-in declares it."""
    size = scores.numel()
    if plugin.n_removed is None:
        return n_removed(sparsity, size)

    def check(number: object) -> int:
        if not isinstance(number, int) or not 0 <= number <= n_removed(sparsity, size):
            expected = f"a whole number from 0 to {n_removed(sparsity, size)}"
            raise call.error("n_removed of a plug-in is wrong", sparsity=sparsity, expected=expected, got=number)
        return number

    shape = (scores.shape[0], scores.shape[1])
    return call_checked(call, plugin.n_removed, (shape, sparsity, parameters), check=check, repeats=False)
