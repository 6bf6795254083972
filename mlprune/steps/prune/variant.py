"""Variants as plain values: dense, with masks of a score, with combined masks, quantised, and with an intervention."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, ClassVar, TypeVar

from mlprune.json_values import JsonObject, JsonValue
from mlprune.methods import StatisticsName
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.pruning.spec import RefinementSpec, ScheduleSpec, Scope, ScoreSpec, StatisticsSelection
from mlprune.steps.base_variant import BaseVariant, SeedSource, SetLink
from mlprune.steps.job import Identity, ModelRef, make_identity
from mlprune.steps.neurons.variant import NeuronVariant
from mlprune.steps.prune.variant_text import quantisation_words
from mlprune.steps.quantise.rows import quantised_columns
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

    removes_nothing: ClassVar[bool] = True
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
    def selection(self) -> StatisticsSelection | None:
        """Which statistics it reads, and how it joins them; None if its score reads none."""
        return self.calibration.selection if self.calibration else None

    @property
    def has_new_values(self) -> bool:
        """Whether weights or biases can have new values."""
        return self.weights_changed or self.score.compensates

    @property
    def dense_calibration(self) -> Calibration | None:
        """Its demonstrations if it reads statistics of the dense model; otherwise None."""
        if self.calibration is None:
            return None
        is_dense = self.calibration.propagation == "dense" or self.schedule.reads_statistics
        return self.calibration if is_dense else None

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

    def set_links(self) -> Iterator[SetLink]:
        """Yield the sets that its score read, and the contrast set."""
        if self.calibration is None:
            return
        shares = self.calibration.selection.shares or (1.0,) * len(self.set_ids)
        total = sum(shares)
        for set_id, share in zip(self.set_ids, shares, strict=True):
            yield set_id, "demonstrations", share / total
        if self.calibration.contrast_set_id:
            yield self.calibration.contrast_set_id, "contrast", 1.0

    def own_seed(self, source: SeedSource) -> int | None:
        """Return the seed of its score, or of a bootstrap of its demonstrations."""
        resample_seed = self.selection.resample_seed if self.selection else None
        return {"score": self.score.seed, "resamples": resample_seed, "demonstrations": None}[source]

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return its score, sets, selection and settings except the seed of a source."""
        score = self.score if source != "score" or self.score.seed is None else self.score.with_seed(0)
        selection = self.selection
        if selection is not None and source == "resamples" and selection.resample_seed is not None:
            selection = replace(selection, resample_seed=0)
        settings = (self.sparsity, self.schedule, self.scope, self.profile, self.refinement)
        return score, self.propagation, selection, sets, settings

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the score and all its settings, the schedule, the refiner, and what it reads."""
        score = {name: value for name, value in _nested(self.score.parameters, "score_parameters") if name != "seed"}
        score |= {"permute": True} if self.score.permute else {}
        columns: JsonObject = {
            "score": self.score.score,
            "score_parameters": score or None,
            "structure": self.score.structure,
            "seed": self.score.seed,
            "removes": self.score.removes,
            "schedule": self.schedule.kind,
            "schedule_parameters": _schedule_parameters(self.schedule) or None,
            "scope": self.scope.parameters or None,
            "profile": self.profile,
            **self._refiner_columns(),
            **({"plugins": self.plugins} if self.plugins else {}),
        }
        if self.calibration is None:
            return columns
        calibration, selection = self.calibration, self.calibration.selection
        return {
            **columns,
            "demonstration_set_id": calibration.set_ids[0] if len(calibration.set_ids) == 1 else None,
            "contrast_set_id": calibration.contrast_set_id,
            "propagation": calibration.propagation,
            "token_scope": selection.token_scope,
            "aggregation": selection.aggregation,
            "aggregation_parameters": dict(_nested(selection.parameters, "aggregation_parameters")) or None,
            "n_demonstrations": selection.n_demonstrations,
            "resample_seed": selection.resample_seed,
        }

    def _refiner_columns(self) -> JsonObject:
        """Return the columns of the refiner; rows of variants without one do not have them."""
        if self.refinement is None:
            return {}
        parameters = self.refinement.parameters
        return {
            "refiner": self.refinement.refiner,
            "refiner_parameters": dict(_nested(parameters, "refiner_parameters")) or None,
        }

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

    @property
    def parent_links(self) -> tuple[tuple[str, str], ...]:
        """Its parents, numbered in their order."""
        return tuple((parent, f"parent {number}") for number, parent in enumerate(self.parent_ids, start=1))

    def own_label(self, parents: Sequence[str]) -> str:
        """Return the combination and its parents."""
        return f"{self.combination.replace('_', ' ')} of {'; '.join(parents)}"

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return the combination and what determines its parents."""
        return self.combination, parents

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
    def unquantised(self) -> "VariantSpec":
        """Its parent."""
        return self.parent

    @property
    def rounding(self) -> Quantisation:
        """How its weights are rounded."""
        return self.quantisation

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

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the row of its parent, with the bits of a weight."""
        return variant_row(self.parent, achieved=achieved) | quantised_columns(self.id, self.quantisation)

    def own_label(self, parents: Sequence[str]) -> str:
        """Return the label of its parent, and the bits of a weight."""
        return " ".join((*parents, *quantisation_words(*astuple(self.quantisation))))

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return the quantisation and what determines its parent."""
        return self.quantisation, *parents


VariantSpec = DenseVariant | ScoredVariant | CombinedVariant | InterventionVariant | NeuronVariant | QuantisedVariant


COLUMNS = (
    "demonstration_set_id",
    "contrast_set_id",
    "score",
    "score_parameters",
    "structure",
    "propagation",
    "intervention",
    "intervention_parameters",
    "seed",
    "removes",
    "schedule",
    "schedule_parameters",
    "scope",
    "profile",
    "token_scope",
    "aggregation",
    "aggregation_parameters",
    "n_demonstrations",
    "resample_seed",
    "combination",
    "mask_sha256",
)
"""Columns of the catalog's table `variants` that not every kind of variant has."""


AnyVariant = TypeVar("AnyVariant", bound=BaseVariant)


def of_kind(kind: type[AnyVariant], variants: Iterable[VariantSpec]) -> list[AnyVariant]:
    """Return the variants of one kind, in their order."""
    return [variant for variant in variants if isinstance(variant, kind)]


def variant_row(variant: VariantSpec, *, achieved: float) -> dict[str, JsonValue]:
    """Return the catalog row of a variant.

    Args:
        achieved: share of the weights that is removed.
    """
    row: dict[str, JsonValue] = {
        "variant_id": variant.id,
        "base_model_id": variant.model.base_model_id,
        "sparsity": variant.sparsity,
        "achieved_sparsity": achieved,
        "weights_changed": variant.weights_changed,
        **dict.fromkeys(COLUMNS),
    }
    return {**row, **variant.own_columns(achieved=achieved)}


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


def _schedule_parameters(schedule: ScheduleSpec) -> JsonObject:
    losses: JsonObject = {} if schedule.losses is None else {"losses": schedule.losses}
    return {**dict(_nested(schedule.parameters, "schedule_parameters")), **losses}


def _nested(parameters: JsonObject, name: str) -> Iterator[tuple[str, JsonValue]]:
    """Yield the items of an object among some parameters."""
    value = parameters.get(name)
    if isinstance(value, Mapping):
        yield from value.items()
