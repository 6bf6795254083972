"""Plug-ins of each kind: the attributes of a method of this kind, its name and its function.

The functions are pure functions of their arguments: `mlprune.plugins` documents the arguments. They are called in
several threads at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mlprune.methods.method import Refiner, Schedule, Score, Structure

PluginKind = Literal["score", "structure", "schedule", "refiner"]


@dataclass(frozen=True, kw_only=True)
class ScorePlugin(Score):
    """A score: a function of (LayerInputs, parameters) that returns [out, in] float32, finite and >= 0."""

    name: str
    """Name in recipes, equal to the name of the entry point."""
    function: Callable[..., object]


@dataclass(frozen=True, kw_only=True)
class StructurePlugin(Structure):
    """A structure: a function of (scores, sparsity, parameters) that returns the kept weights, [out, in] bool."""

    name: str
    """Name in recipes, equal to the name of the entry point."""
    function: Callable[..., object]
    n_removed: Callable[..., int] | None = None
    """Number of weights removed from a layer: a function of (shape, sparsity, parameters), at most the sparsity times
    the number of weights. None: this product, rounded down."""


@dataclass(frozen=True, kw_only=True)
class SchedulePlugin(Schedule):
    """A schedule: a function of (ScheduleInputs, parameters) that returns one sparsity per layer."""

    name: str
    """Name in recipes, equal to the name of the entry point."""
    function: Callable[..., object]


@dataclass(frozen=True, kw_only=True)
class RefinerPlugin(Refiner):
    """A refiner: a function of (LayerInputs, keep mask, structure, parameters) that returns a RefinedLayer."""

    name: str
    """Name in recipes, equal to the name of the entry point."""
    function: Callable[..., object]


AnyPlugin = ScorePlugin | StructurePlugin | SchedulePlugin | RefinerPlugin
