"""Public names for plug-ins: methods that other distributions add to recipes. docs/python.md shows how to write one.

A plug-in is one object at the top level of a module, named by an entry point of the group `mlprune.scores`,
`mlprune.structures`, `mlprune.schedules` or `mlprune.refiners`. Its function is pure: equal arguments give equal
results, arguments stay as they are, and several threads may call it at a time.

- `ScorePlugin`: (`LayerInputs`, parameters) -> [out, in] float32, finite and >= 0; higher scores are kept.
- `StructurePlugin`: (scores, sparsity, parameters) -> kept weights, [out, in] bool.
- `SchedulePlugin`: (`ScheduleInputs`, parameters) -> one sparsity per layer, whose weighted mean is the requested one.
- `RefinerPlugin`: (`LayerInputs`, keep mask, structure, parameters) -> `RefinedLayer` with the same sparsity in every
  comparison group.
- `Parameters`: base of a frozen dataclass whose fields are declared with `parameter(default, meaning, above=...)`.
- `LayerInputs`: weight, statistics that `needs` names, block and layer.
"""

from mlprune.methods import Parameters, parameter
from mlprune.methods.plugins import (
    LayerSize,
    RefinerPlugin,
    ScheduleInputs,
    SchedulePlugin,
    ScorePlugin,
    StructurePlugin,
)
from mlprune.numeric.refinement.refined_layer import RefinedLayer
from mlprune.numeric.weights.layer_inputs import FeatureMoments, LayerInputs

__all__ = [
    "FeatureMoments",
    "LayerInputs",
    "LayerSize",
    "Parameters",
    "RefinedLayer",
    "RefinerPlugin",
    "ScheduleInputs",
    "SchedulePlugin",
    "ScorePlugin",
    "StructurePlugin",
    "parameter",
]
