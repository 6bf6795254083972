"""Functions that choose the masks and new weights of a block, in the process of the shard that has it.

They are sent to that process, so they can be pickled. Their results that return to the caller contain no tensors.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor

from mlprune.models.messages import SweepObservation

Extra = TypeVar("Extra")
LayerTensors = Mapping[str, Tensor]
"""Layer (or input of layers) -> tensor."""
SweepChoice = Callable[[LayerTensors, SweepObservation], tuple[LayerTensors, LayerTensors, Extra]]
"""Called with {layer: dense weight [out, in]} and the observation of the last `sweep_observe`.

Returns ({layer: keep mask}, {layer: new weight [out, in]}, anything).
"""
