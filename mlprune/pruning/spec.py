"""Specification of a variant as frozen values that go into its id, to a worker, and back out of a record."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mlprune.hashing import with_defaults, without_defaults
from mlprune.json_values import JsonObject, JsonValue
from mlprune.methods import (
    AGGREGATIONS,
    NO_PARAMETERS,
    SCHEDULES,
    Parameters,
    Refiner,
    Score,
    Structure,
    checked_parameters,
    pattern_of,
    structure_of,
)
from mlprune.methods.plugins import (
    REFINER_METHODS,
    SCHEDULE_METHODS,
    SCORE_METHODS,
    STRUCTURE_METHODS,
    MethodLookup,
    PluginParameters,
    PluginSource,
)
from mlprune.methods.plugins.lookup import AnyMethod
from mlprune.vocabulary import RemovesName, RoundingName, TokenScope


def parameters_class(lookup: MethodLookup[AnyMethod], name: str, plugin: object) -> type[Parameters]:
    """Return the class of the parameters of a method. A plug-in is not loaded: its parameters are plain values."""
    return PluginParameters if plugin is not None else lookup.built_in[name].parameters


def fill_in_parameters(spec: object, name: str, kind: type[Parameters]) -> None:
    """Give a specification the default parameters of its method if it has none."""
    given = getattr(spec, name)
    if given == NO_PARAMETERS:
        object.__setattr__(spec, name, kind())
    elif not isinstance(given, dict):
        checked_parameters(given, kind)


def given_parameters(kind: type[Parameters], values: JsonValue) -> Parameters:
    """Return the parameters in a record; those that are absent have their defaults."""
    if kind is PluginParameters:
        return PluginParameters.from_values(values)
    return with_defaults(kind, values if isinstance(values, Mapping) else {})


@dataclass(frozen=True)
class ScoreSpec:
    """How the weights of a layer are scored and compared."""

    score: str
    """A key of `SCORES`, or the name of a plug-in."""
    structure: str = "row"
    """`row`, `matrix`, `alpha`, `N:M`, or the name of a plug-in."""
    removes: RemovesName = "lowest"
    rounding: RoundingName = "decimal"
    score_parameters: Parameters = NO_PARAMETERS
    """Left out: the defaults of the score."""
    permute: bool = False
    """N:M: whether the inputs are permuted first, so that the kept scores have a higher sum."""
    plugin: PluginSource | None = None
    """Source of the score; None if it is built in."""
    structure_plugin: PluginSource | None = None
    """Source of the structure; None if it is built in."""
    structure_parameters: PluginParameters = PluginParameters()  # noqa: RUF009 - frozen
    """Of a structure that is a plug-in; the others have none."""

    def __post_init__(self) -> None:
        fill_in_parameters(self, "score_parameters", parameters_class(SCORE_METHODS, self.score, self.plugin))

    @property
    def method(self) -> Score:
        """The score; a plug-in is loaded.

        Raises:
            PluginError: the plug-in is missing, or differs.
        """
        return SCORE_METHODS.resolve(self.score, self.plugin)

    @property
    def group(self) -> Structure:
        """The structure; a plug-in is loaded, as for the score."""
        if self.structure_plugin is None:
            return structure_of(self.structure)
        return STRUCTURE_METHODS.resolve(self.structure, self.structure_plugin)

    @property
    def permuted_group(self) -> int | None:
        """M of N:M if the inputs are permuted first; None otherwise."""
        pattern = pattern_of(self.structure) if self.permute else None
        return pattern[1] if pattern else None

    @property
    def compensates(self) -> bool:
        """Whether layers after removed units get new biases."""
        return bool(vars(self.score_parameters).get("compensate"))

    @property
    def seed(self) -> int | None:
        """Seed of the score; None if it has none."""
        seed = self.settings.get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def settings(self) -> Mapping[str, JsonValue]:
        """The parameters of the score by name; of a plug-in, those that are not at their defaults."""
        parameters = self.score_parameters
        return parameters if isinstance(parameters, PluginParameters) else vars(parameters)

    def with_seed(self, seed: int) -> "ScoreSpec":
        """Return the same score with another seed; it has to have one."""
        parameters = self.score_parameters
        if isinstance(parameters, PluginParameters):
            return replace(self, score_parameters=parameters.with_seed(seed))
        return replace(self, score_parameters=replace(parameters, seed=seed))  # type: ignore[call-arg]

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of an id, without defaults."""
        return without_defaults(self)

    @classmethod
    def from_parameters(cls, parameters: JsonObject) -> "ScoreSpec":
        """Build the specification from the parameters of a record; other keys are ignored."""
        spec, plugin = with_defaults(cls, parameters), PluginSource.from_parameters(parameters.get("plugin"))
        kind = parameters_class(SCORE_METHODS, spec.score, plugin)
        return replace(
            spec,
            score_parameters=given_parameters(kind, parameters.get("score_parameters")),
            plugin=plugin,
            structure_plugin=PluginSource.from_parameters(parameters.get("structure_plugin")),
            structure_parameters=PluginParameters.from_values(parameters.get("structure_parameters")),
        )


@dataclass(frozen=True)
class RefinementSpec:
    """How the mask of a score is refined."""

    refiner: str
    """A key of `REFINERS`, or the name of a plug-in."""
    refiner_parameters: Parameters = NO_PARAMETERS
    """Left out: the defaults of the refiner."""
    plugin: PluginSource | None = None
    """Source of the refiner; None if it is built in."""

    def __post_init__(self) -> None:
        fill_in_parameters(self, "refiner_parameters", parameters_class(REFINER_METHODS, self.refiner, self.plugin))

    @property
    def method(self) -> Refiner:
        """The refiner; a plug-in is loaded, as for a score."""
        return REFINER_METHODS.resolve(self.refiner, self.plugin)

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of an id, without defaults."""
        return without_defaults(self)

    @classmethod
    def from_parameters(cls, parameters: JsonObject) -> "RefinementSpec":
        """Build the specification from the parameters of a record."""
        spec, plugin = with_defaults(cls, parameters), PluginSource.from_parameters(parameters.get("plugin"))
        kind = parameters_class(REFINER_METHODS, spec.refiner, plugin)
        return replace(
            spec, refiner_parameters=given_parameters(kind, parameters.get("refiner_parameters")), plugin=plugin
        )


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
            fill_in_parameters(self, "aggregation_parameters", AGGREGATIONS[self.aggregation].parameters)

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
        values = given_parameters(method.parameters, parameters.get("aggregation_parameters"))
        return replace(selection, aggregation_parameters=values)


@dataclass(frozen=True)
class ScheduleSpec:
    """How the sparsity is spread over blocks and layers."""

    kind: str = "uniform"
    """A key of `SCHEDULES`, or the name of a plug-in."""
    schedule_parameters: Parameters = NO_PARAMETERS
    losses: str | None = None
    """sensitivity: id of the record of the losses."""
    plugin: PluginSource | None = None
    """Source of the schedule; None if it is built in."""
    layers: tuple[tuple[int, str, float], ...] = ()
    """Of a plug-in: (block, layer, sparsity), computed when the variant is planned."""
    formula: int = 1
    """Version of the schedule's formula, part of an id where a later version gives other sparsities: 2 for `owl` with a
    scope of blocks, whose mean is over the blocks of the scope since then, and with sparsities so near 0 or 1 that its
    shifts may shrink instead of being clipped; and for `sensitivity`, which stays uniform since then if no loss differs
    from zero. A plan does not know the losses, so all variants of this schedule have version 2."""

    def __post_init__(self) -> None:
        fill_in_parameters(self, "schedule_parameters", parameters_class(SCHEDULE_METHODS, self.kind, self.plugin))

    @property
    def reads_statistics(self) -> bool:
        """Whether the schedule reads statistics of demonstrations on the dense model."""
        return self.plugin is None and bool(SCHEDULES[self.kind].needs)

    @property
    def is_in_recipe(self) -> bool:
        """Whether the specification alone determines the sparsity of every layer."""
        return self.plugin is not None or SCHEDULES[self.kind].is_in_recipe

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of an id, without defaults."""
        return without_defaults(self)

    @classmethod
    def from_parameters(cls, parameters: JsonObject) -> "ScheduleSpec":
        """Build the schedule from the parameters of a record."""
        spec, plugin = with_defaults(cls, parameters), PluginSource.from_parameters(parameters.get("plugin"))
        kind = parameters_class(SCHEDULE_METHODS, spec.kind, plugin)
        values = given_parameters(kind, parameters.get("schedule_parameters"))
        return replace(spec, schedule_parameters=values, plugin=plugin)


@dataclass(frozen=True)
class Scope:
    """Blocks, layers and sub-layers that are pruned, in order; empty means all."""

    blocks: tuple[int, ...] = ()
    layers: tuple[str, ...] = ()
    sublayers: tuple[str, ...] = ()
    """Structure sublayers: each as `3.attention`."""

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
