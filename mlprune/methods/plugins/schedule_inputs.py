"""Inputs of the function of a schedule that is a plug-in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerSize:
    """A layer that is pruned."""

    block: int
    layer: str
    """Path inside the block."""
    n_weights: int


@dataclass(frozen=True)
class ScheduleInputs:
    """The sparsity of a whole model, and its layers."""

    sparsity: float
    """Of all layers together, in (0, 1)."""
    layers: tuple[LayerSize, ...]
    """In the order of the model; those outside the scope are left out."""
