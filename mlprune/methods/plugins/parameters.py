"""Parameters of a plug-in as plain values, so that a specification can be read where the plug-in is not installed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlprune.hashing import with_defaults, without_defaults
from mlprune.json_values import JsonValue
from mlprune.methods.parameters import Parameters

SEED = "seed"


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
