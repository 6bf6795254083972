"""Sparsities of all layers by the schedule of a plug-in, checked."""

from math import fsum, isfinite

from mlprune.methods.plugins import PluginParameters, PluginSource, ScheduleInputs, SchedulePlugin, typed_parameters
from mlprune.pruning.plugin_calls.calls import PluginCall, call_checked

TOLERANCE = 0.001
"""Largest difference of the mean sparsity, weighted by the sizes of the layers, from the requested one."""


def plugin_sparsities(
    plugin: SchedulePlugin, inputs: ScheduleInputs, parameters: PluginParameters, *, source: PluginSource
) -> tuple[float, ...]:
    """Return the sparsity of each layer. The plug-in is called twice, to compare the results.

    Raises:
        PluginError: the plug-in breaks the contract of schedules.
    """
    call = PluginCall("schedule", plugin.name, source)
    n_weights = [layer.n_weights for layer in inputs.layers]

    def check(result: object) -> tuple[float, ...]:
        expected = f"a list of {len(n_weights)} numbers"
        if not isinstance(result, list | tuple) or len(result) != len(n_weights):
            got = f"{len(result)} values" if isinstance(result, list | tuple) else type(result).__name__
            raise call.error("a plug-in returns no sparsity per layer", expected=expected, got=got)
        for layer, value in zip(inputs.layers, result, strict=True):
            if not isinstance(value, int | float) or not isfinite(value) or not 0 <= value < 1:
                context = {"block": layer.block, "layer": layer.layer, "expected": "a number in [0, 1)", "got": value}
                raise call.error("a sparsity of a plug-in is out of range", **context)
        mean = fsum(n * value for n, value in zip(n_weights, result, strict=True)) / sum(n_weights)
        if abs(mean - inputs.sparsity) > TOLERANCE:
            expected = f"{inputs.sparsity:g}, weighted by the number of weights"
            raise call.error("the mean sparsity of a plug-in is another one", expected=expected, got=round(mean, 6))
        return tuple(float(value) for value in result)

    typed = typed_parameters(plugin.parameters, parameters)
    return call_checked(call, plugin.function, (inputs, typed), check=check, repeats=True)
