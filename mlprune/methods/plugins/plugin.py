"""Plug-ins of each kind: attributes, parameters, inputs of schedules, and provenance.

Plug-ins of each kind: the attributes of a method of this kind, its name and its function.

The functions are pure functions of their arguments: `mlprune.plugins` documents the arguments. They are called in
several threads at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlprune.hashing import with_defaults, without_defaults
from mlprune.json_values import JsonValue
from mlprune.methods.method import Parameters, Refiner, Schedule, Score, Structure

PluginKind = Literal["score", "structure", "schedule", "refiner"]
SEED = "seed"


@dataclass(frozen=True)
class PluginSource:
    """Identity of the source of a plug-in; part of the ids of everything it makes."""

    sha256: str
    """Of the file; of a distribution, over all files of the package that has the module."""
    distribution: str | None = None
    """Name of the distribution; None for a file."""
    version: str | None = None
    """Version of the distribution."""
    file: str | None = None
    """Name of the file, without folders; None for a distribution."""
    text: str | None = field(default=None, compare=False, repr=False)
    """Content of the file. It travels with a job, and is neither part of an id nor in a record."""

    @property
    def label(self) -> str:
        """The distribution with its version, or the file."""
        return self.file or f"{self.distribution} {self.version}"

    @property
    def advice(self) -> str:
        """How to provide this source."""
        if self.file:
            return f"name the file in the recipe (plugins: [{self.file}]) and with --allow-plugins {self.file}"
        return f"pip install '{self.distribution}=={self.version}' in the environment of the command and of every node"

    @property
    def columns(self) -> dict[str, JsonValue]:
        """Values for the catalog."""
        return without_defaults(self)

    @classmethod
    def from_parameters(cls, values: object) -> "PluginSource | None":
        """Build the provenance from the parameters of a record; None if there is none."""
        if isinstance(values, PluginSource) or not isinstance(values, Mapping):
            return values if isinstance(values, PluginSource) else None
        return with_defaults(cls, values)


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


@dataclass(frozen=True)
class PluginParameters(Parameters, Mapping[str, JsonValue]):
    """The parameters that are not at the defaults of the plug-in, by name; a seed is always among them."""

    pairs: tuple[tuple[str, JsonValue], ...] = ()
    """(name, value), sorted by name; lists are tuples."""

    def __getitem__(self, name: str) -> JsonValue:
        return dict(self.pairs)[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    @classmethod
    def of(cls, parameters: Parameters) -> "PluginParameters":
        """Return the plain values of typed parameters."""
        values = without_defaults(parameters)
        if SEED in vars(parameters):
            values[SEED] = vars(parameters)[SEED]
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: object) -> "PluginParameters":
        """Return the plain values of a mapping; none if it is not a mapping."""
        items = values.items() if isinstance(values, Mapping) else ()
        return cls(tuple(sorted((str(name), _frozen(value)) for name, value in items)))

    def with_seed(self, seed: int) -> "PluginParameters":
        """Return the same parameters with another seed."""
        return self.from_values({**self, SEED: seed})


def typed_parameters(kind: type[Parameters], values: PluginParameters) -> Parameters:
    """Return the parameters as the plug-in declares them."""
    return with_defaults(kind, values)


def _frozen(value: JsonValue) -> JsonValue:
    """Return a value with tuples in place of lists."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
