"""Specification of a variant as frozen values that go into its id, to a worker, and back out of a record."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mlprune.hashing import with_defaults, without_defaults
from mlprune.json_values import JsonObject, JsonValue
from mlprune.methods import (
    AGGREGATIONS,
    NO_PARAMETERS,
    REFINERS,
    SCHEDULES,
    SCORES,
    Method,
    Parameters,
    Refiner,
    Score,
    Structure,
    structure_of,
)
from mlprune.vocabulary import RemovesName, RoundingName, TokenScope


@dataclass(frozen=True)
class ScoreSpec:
    """How the weights of a layer are scored and compared."""

    score: str
    """A key of `SCORES`."""
    structure: str = "row"
    """`row`, `matrix`, `alpha` or `N:M`."""
    removes: RemovesName = "lowest"
    rounding: RoundingName = "decimal"
    score_parameters: Parameters = NO_PARAMETERS
    """Left out: the defaults of the score."""
    permute: bool = False
    """N:M: whether the inputs are permuted first, so that the kept scores have a higher sum."""

    def __post_init__(self) -> None:
        _fill_in(self, "score_parameters", SCORES[self.score])

    @property
    def method(self) -> Score:
        """The registry entry of the score."""
        return SCORES[self.score]

    @property
    def group(self) -> Structure:
        """The registry entry of the structure."""
        return structure_of(self.structure)

    @property
    def permuted_group(self) -> int | None:
        """M of N:M if the inputs are permuted first; None otherwise."""
        return int(self.structure.partition(":")[2]) if self.permute else None

    @property
    def compensates(self) -> bool:
        """Whether biases get new values, where layers have some."""
        return bool(vars(self.score_parameters).get("compensate"))

    @property
    def seed(self) -> int | None:
        """Seed of the score; None if it has none."""
        seed: int | None = vars(self.score_parameters).get("seed")
        return seed

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of an id, without defaults."""
        return without_defaults(self)

    @classmethod
    def from_parameters(cls, parameters: JsonObject) -> "ScoreSpec":
        """Build the specification from the parameters of a record; other keys are ignored."""
        spec = with_defaults(cls, parameters)
        values = _parameters(SCORES[spec.score].parameters, parameters.get("score_parameters"))
        return replace(spec, score_parameters=values)


@dataclass(frozen=True)
class RefinementSpec:
    """How the mask of a score is refined."""

    refiner: str
    """A key of `REFINERS`."""
    refiner_parameters: Parameters = NO_PARAMETERS
    """Left out: the defaults of the refiner."""

    def __post_init__(self) -> None:
        _fill_in(self, "refiner_parameters", REFINERS[self.refiner])

    @property
    def method(self) -> Refiner:
        """The registry entry of the refiner."""
        return REFINERS[self.refiner]

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of an id, without defaults."""
        return without_defaults(self)

    @classmethod
    def from_parameters(cls, parameters: JsonObject) -> "RefinementSpec":
        """Build the specification from the parameters of a record."""
        spec = with_defaults(cls, parameters)
        values = _parameters(REFINERS[spec.refiner].parameters, parameters.get("refiner_parameters"))
        return replace(spec, refiner_parameters=values)


@dataclass(frozen=True)
class StatisticsSelection:
    """Demonstrations that count, and how several sets become one factor per feature."""

    token_scope: TokenScope = "all"
    n_demonstrations: int | None = None
    """Only the first N demonstrations of each set; None: all."""
    resample_seed: int | None = None
    """Seed of a bootstrap of the demonstrations; None: each counts once."""
    aggregation: str | None = None
    """A key of `AGGREGATIONS`; None if there is one set."""
    aggregation_parameters: Parameters = NO_PARAMETERS
    shares: tuple[float, ...] = ()
    """Weights of the sets, which sum to 1; empty: equal."""

    def __post_init__(self) -> None:
        if self.aggregation is not None:
            _fill_in(self, "aggregation_parameters", AGGREGATIONS[self.aggregation])

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of an id, without defaults."""
        return without_defaults(self)

    @classmethod
    def from_parameters(cls, parameters: JsonObject) -> "StatisticsSelection":
        """Build the selection from the parameters of a record; other keys are ignored."""
        selection = with_defaults(cls, parameters)
        if selection.aggregation is None:
            return selection
        method = AGGREGATIONS[selection.aggregation]
        values = _parameters(method.parameters, parameters.get("aggregation_parameters"))
        return replace(selection, aggregation_parameters=values)


@dataclass(frozen=True)
class ScheduleSpec:
    """How the sparsity is spread over blocks and layers."""

    kind: str = "uniform"
    """A key of `SCHEDULES`."""
    schedule_parameters: Parameters = NO_PARAMETERS
    losses: str | None = None
    """sensitivity: id of the record of the losses."""

    def __post_init__(self) -> None:
        _fill_in(self, "schedule_parameters", SCHEDULES[self.kind])

    @property
    def reads_statistics(self) -> bool:
        """Whether the schedule reads statistics of demonstrations on the dense model."""
        return bool(SCHEDULES[self.kind].needs)

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of an id, without defaults."""
        return without_defaults(self)

    @classmethod
    def from_parameters(cls, parameters: JsonObject) -> "ScheduleSpec":
        """Build the schedule from the parameters of a record."""
        spec = with_defaults(cls, parameters)
        values = _parameters(SCHEDULES[spec.kind].parameters, parameters.get("schedule_parameters"))
        return replace(spec, schedule_parameters=values)


@dataclass(frozen=True)
class Scope:
    """Blocks and layers that are pruned, in order; empty means all."""

    blocks: tuple[int, ...] = ()
    layers: tuple[str, ...] = ()

    def includes(self, block: int, layer: str) -> bool:
        """Whether a layer is pruned."""
        return (not self.blocks or block in self.blocks) and (not self.layers or layer in self.layers)

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of an id, without defaults."""
        return without_defaults(self)

    @classmethod
    def from_parameters(cls, parameters: JsonObject) -> "Scope":
        """Build the scope from the parameters of a record."""
        return with_defaults(cls, parameters)


def _fill_in(spec: object, name: str, method: Method) -> None:
    """Give a specification the default parameters of its method if it has none."""
    given = getattr(spec, name)
    if given == NO_PARAMETERS:
        object.__setattr__(spec, name, method.parameters())
    elif not isinstance(given, method.parameters | dict):
        raise TypeError(f"expected {method.parameters.__name__}, got {type(given).__name__}")


def _parameters(kind: type[Parameters], values: JsonValue) -> Parameters:
    return with_defaults(kind, values if isinstance(values, Mapping) else {})
