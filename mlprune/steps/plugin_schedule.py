"""Schedules that are plug-ins: the sparsity of every layer is computed when a variant is planned.

The specification of the schedule has the sparsities. Workers therefore need no plug-in, and masks can be composed.
"""

from math import prod
from pathlib import Path

from mlprune.methods import Parameters
from mlprune.methods.plugins import (
    SCHEDULE_METHODS,
    LayerSize,
    PluginParameters,
    PluginSource,
    ScheduleInputs,
    SchedulePlugin,
)
from mlprune.models.checkpoint.weight_files import WeightFiles
from mlprune.models.families.records import FAMILIES
from mlprune.pruning.plugin_calls.schedules import plugin_sparsities
from mlprune.pruning.spec import ScheduleSpec, Scope
from mlprune.steps.inputs import Inputs


def planned_schedule(
    kind: str, parameters: Parameters, *, inputs: Inputs, source: PluginSource, sparsity: float, chosen: Scope
) -> ScheduleSpec:
    """Return the schedule of a plug-in with the sparsities that it gives the layers of the scope.

    Args:
        kind: name of the plug-in.
        source: its provenance.
        sparsity: of the whole scope.
        chosen: blocks and layers that are pruned.
    Raises:
        PluginError: the plug-in breaks the contract of schedules.
    """
    plugin = SCHEDULE_METHODS.resolve(kind, source)
    assert isinstance(plugin, SchedulePlugin), "a look-up checks the class of a plug-in"
    assert isinstance(parameters, PluginParameters), "a recipe has plain parameters of a plug-in"
    sizes = _layer_sizes(inputs)
    layers = tuple(
        LayerSize(block, layer, n_weights)
        for block in range(inputs.model.n_blocks)
        for layer, n_weights in sizes.items()
        if chosen.includes(block, layer)
    )
    sparsities = plugin_sparsities(plugin, ScheduleInputs(sparsity, layers), parameters, source=source)
    planned = tuple((one.block, one.layer, share) for one, share in zip(layers, sparsities, strict=True))
    return ScheduleSpec(kind, parameters, plugin=source, layers=planned)


def _layer_sizes(inputs: Inputs) -> dict[str, int]:
    """Return layer -> number of weights, from the headers of the weight files; all blocks have equal layers."""
    family = FAMILIES[inputs.model.family]
    shapes = WeightFiles(Path(inputs.model.path), family).layer_shapes(0)
    return {layer: prod(shape) for layer, shape in shapes.items()}
