"""Scores of a layer by a plug-in, checked."""

import torch
from torch import Tensor

from mlprune.methods.plugins import PluginParameters, PluginSource, ScorePlugin, typed_parameters
from mlprune.numeric.weights.layer_inputs import LayerInputs
from mlprune.pruning.plugin_calls.calls import PluginCall, call_checked, tensor_text


def plugin_scores(
    plugin: ScorePlugin, inputs: LayerInputs, parameters: PluginParameters, *, source: PluginSource, repeats: bool
) -> Tensor:
    """Return the scores of one layer.

    Args:
        repeats: whether the plug-in is called twice, to compare the results.
    Returns: [out, in], float32, finite and >= 0, on the device of the weight.
    Raises:
        PluginError: the plug-in breaks the contract of scores.
    """
    call = PluginCall("score", plugin.name, source, inputs.block, inputs.layer)
    expected = f"a tensor {tensor_text(inputs.weight.shape, torch.float32, inputs.weight.device)}"

    def check(scores: object) -> Tensor:
        if not isinstance(scores, Tensor):
            raise call.error("a plug-in returns no tensor", expected=expected, got=type(scores).__name__)
        got = tensor_text(scores.shape, scores.dtype, scores.device)
        for attribute, value, right in (
            ("shape", scores.shape, inputs.weight.shape),
            ("dtype", scores.dtype, torch.float32),
            ("device", scores.device, inputs.weight.device),
        ):
            if value != right:
                raise call.error(f"the scores of a plug-in have another {attribute}", expected=expected, got=got)
        low, high = torch.aminmax(scores)  # a score that is not a number makes both of them so
        if not (float(low) >= 0 and float(high) < torch.inf):
            got = f"{int((~torch.isfinite(scores)).sum())} not finite, {int((scores < 0).sum())} negative"
            raise call.error("a score is negative or not finite", expected="finite scores >= 0", got=got)
        return scores.detach().contiguous()

    typed = typed_parameters(plugin.parameters, parameters)
    return call_checked(call, plugin.function, (inputs, typed), check=check, repeats=repeats)
