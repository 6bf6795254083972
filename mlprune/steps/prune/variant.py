"""Variants as plain values: dense, with masks of a score, with combined masks, quantised, and with an intervention."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mlprune.json_values import JsonObject, JsonValue
from mlprune.methods import StatisticsName
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.pruning.spec import RefinementSpec, ScheduleSpec, Scope, ScoreSpec, StatisticsSelection
from mlprune.steps.base_variant import BaseVariant
from mlprune.steps.job import Identity, ModelRef, make_identity
from mlprune.steps.neurons.variant import NeuronVariant
from mlprune.vocabulary import CombinationName, InterventionName, ProfileName, PropagationName


@dataclass(frozen=True)
class Calibration:
    """Demonstrations that a score reads."""

    propagation: PropagationName
    selection: StatisticsSelection
    set_ids: tuple[str, ...]
    contrast_set_id: str | None = None


@dataclass(frozen=True)
class DenseVariant(BaseVariant):
    """A base model without changes."""

    sparsity: ClassVar[float] = 0.0
    structure: ClassVar[str | None] = None
    propagation: ClassVar[PropagationName | None] = None
    weights_changed: ClassVar[bool] = False


@dataclass(frozen=True)
class ScoredVariant(BaseVariant):
    """A base model without the weights that a score orders lowest."""

    sparsity: float
    """Of the whole model."""
    score: ScoreSpec
    calibration: Calibration | None = None
    """None if the score reads no statistics."""
    schedule: ScheduleSpec = ScheduleSpec()  # noqa: RUF009 - frozen
    scope: Scope = Scope()  # noqa: RUF009 - frozen
    profile: ProfileName = "corrected"
    refinement: RefinementSpec | None = None
    """None if the mask is that of the score."""

    @property
    def structure(self) -> str:
        """The comparison group."""
        return self.score.structure

    @property
    def propagation(self) -> PropagationName | None:
        """How its statistics are observed; None if it reads none."""
        return self.calibration.propagation if self.calibration else None

    @property
    def weights_changed(self) -> bool:
        """Whether remaining weights have new values."""
        return self.score.method.changes_weights or (
            self.refinement is not None and self.refinement.method.changes_weights
        )

    @property
    def needs(self) -> tuple[StatisticsName, ...]:
        """Statistics that the score and the refiner read."""
        of_refiner = self.refinement.method.needs if self.refinement else ()
        return tuple(dict.fromkeys((*self.score.method.needs, *of_refiner)))

    @property
    def reads_exact_products(self) -> bool:
        """Whether a sweep adds all products of the Gram matrices in float64: not those of several sets."""
        return self.score.method.exact_products and len(self.set_ids) == 1

    @property
    def is_alone(self) -> bool:
        """Whether no other sparsity can share its ordering, because its mask is not a level of a nested ordering."""
        return not self.score.group.masks_nest or self.refinement is not None or self.score.method.changes_weights

    @property
    def plugins(self) -> dict[str, JsonValue]:
        """Kind of method -> name and source of the plug-ins that make it."""
        named = {"score": (self.score.score, self.score.plugin)}
        named["structure"] = (self.score.structure, self.score.structure_plugin)
        named["schedule"] = (self.schedule.kind, self.schedule.plugin)
        if self.refinement is not None:
            named["refiner"] = (self.refinement.refiner, self.refinement.plugin)
        plugins = {kind: {"name": name, **source.columns} for kind, (name, source) in named.items() if source}
        if self.score.structure_parameters:
            plugins["structure"]["parameters"] = dict(self.score.structure_parameters)
        return {**plugins}

    @property
    def contrast_set_id(self) -> str | None:
        """The contrast set of its score, if it has one."""
        return self.calibration.contrast_set_id if self.calibration else None

    @property
    def set_ids(self) -> tuple[str, ...]:
        """The demonstration sets that its score reads, without the contrast set."""
        return self.calibration.set_ids if self.calibration else ()


@dataclass(frozen=True)
class CombinedVariant(BaseVariant):
    """A base model with the masks of other variants combined."""

    sparsity: float
    """The sparsity that the recipe gives its parents."""
    combination: CombinationName
    parent_ids: tuple[str, ...]
    """Variants that are combined, in order."""
    shared: tuple[tuple[str, JsonValue], ...] = ()
    """Columns and their values in which all parents agree; None where they differ."""
    weights_changed: ClassVar[bool] = False

    @property
    def structure(self) -> JsonValue:
        """The comparison group of its parents, if they agree."""
        return dict(self.shared).get("structure")

    @property
    def propagation(self) -> JsonValue:
        """The propagation of its parents, if they agree."""
        return dict(self.shared).get("propagation")

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the combination, and what its parents share."""
        return {"sparsity": achieved, "combination": self.combination, **dict(self.shared)}


@dataclass(frozen=True)
class InterventionVariant(BaseVariant):
    """A base model whose hidden states or inputs are changed at run time."""

    intervention: InterventionName
    settings: tuple[tuple[str, JsonValue], ...] = ()
    """Parameters that are not at their defaults."""
    is_candidate: ClassVar[bool] = False
    sparsity: ClassVar[float] = 0.0
    structure: ClassVar[str | None] = None
    propagation: ClassVar[PropagationName | None] = None
    weights_changed: ClassVar[bool] = False

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the intervention and its parameters."""
        return {"intervention": self.intervention, "intervention_parameters": dict(self.settings) or None}


@dataclass(frozen=True)
class QuantisedVariant(BaseVariant):
    """Another variant whose weights are rounded to few levels. It has the masks of that variant."""

    parent: "VariantSpec"
    quantisation: Quantisation
    weights_changed: ClassVar[bool] = True

    @property
    def sparsity(self) -> float:
        """The sparsity of its parent."""
        return self.parent.sparsity

    @property
    def structure(self) -> JsonValue:
        """The comparison group of its parent."""
        return self.parent.structure

    @property
    def propagation(self) -> JsonValue:
        """The propagation of its parent."""
        return self.parent.propagation


VariantSpec = DenseVariant | ScoredVariant | CombinedVariant | InterventionVariant | NeuronVariant | QuantisedVariant


def dense_variant(base: Identity, model: ModelRef) -> DenseVariant:
    """Return the dense variant of a base model."""
    return DenseVariant(make_identity("variants", {"sparsity": 0}, parents={"base_model": base.id}), model)


def scored_parameters(
    score: ScoreSpec,
    calibration: Calibration | None,
    *,
    sparsity: float,
    schedule: ScheduleSpec,
    scope: Scope,
    refinement: RefinementSpec | None = None,
) -> dict[str, JsonValue]:
    """Return the parameters of a scored variant's id, without profile, dtype, batch size and device."""
    parameters: dict[str, JsonValue] = {**score.parameters, "sparsity": sparsity}
    if calibration is not None:
        parameters |= {**calibration.selection.parameters, "propagation": calibration.propagation}
    parts = {
        "schedule": schedule.parameters,
        "scope": scope.parameters,
        "refinement": refinement.parameters if refinement else {},
    }
    return parameters | {name: part for name, part in parts.items() if part}


def scored_variant(
    identity: Identity, model: ModelRef, parameters: Mapping[str, Any], parents: Mapping[str, Any]
) -> ScoredVariant:
    """Build a scored variant from the parameters and parents of its record; absent parameters have their defaults."""
    calibration = None
    if "propagation" in parameters:
        calibration = Calibration(
            parameters["propagation"],
            StatisticsSelection.from_parameters(parameters),
            tuple(parents["demonstration_sets"]),
            parents.get("contrast_set"),
        )
    return ScoredVariant(
        identity,
        model,
        sparsity=parameters["sparsity"],
        score=ScoreSpec.from_parameters(parameters),
        calibration=calibration,
        schedule=ScheduleSpec.from_parameters(parameters.get("schedule", {})),
        scope=Scope.from_parameters(parameters.get("scope", {})),
        profile=parameters.get("profile", "corrected"),
        refinement=refinement_of(parameters),
    )


def refinement_of(parameters: Mapping[str, Any]) -> RefinementSpec | None:
    """Return the refinement in the parameters of a variant's record; None if there is none."""
    return RefinementSpec.from_parameters(parameters["refinement"]) if "refinement" in parameters else None


def block_identity(ordering_id: str, block: int, *, parents: JsonObject) -> Identity:
    """Identity of the masks of one block of an ordering or sweep."""
    return make_identity("mask_blocks", {"ordering": ordering_id, "block": block}, parents=parents)


def agreeing_columns(rows: Sequence[Mapping[str, JsonValue]], names: Sequence[str]) -> dict[str, JsonValue]:
    """Return the columns in which all rows agree, None for the others."""
    return {name: rows[0][name] if all(row[name] == rows[0][name] for row in rows) else None for name in names}
