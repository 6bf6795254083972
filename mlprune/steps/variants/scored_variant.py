"""Variants with masks of a score as plain values: what determines their ids."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlprune.json_values import JsonObject, JsonValue
from mlprune.methods import StatisticsName
from mlprune.pruning.spec import RefinementSpec, ScheduleSpec, Scope, ScoreSpec, StatisticsSelection
from mlprune.steps.job import Identity, ModelRef, make_identity
from mlprune.steps.variants.base_variant import BaseVariant, SeedSource, SetLink
from mlprune.vocabulary import ProfileName, PropagationName


@dataclass(frozen=True)
class Calibration:
    """Demonstrations that a score reads."""

    propagation: PropagationName
    selection: StatisticsSelection
    set_ids: tuple[str, ...]
    contrast_set_id: str | None = None


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
        reads_dense = self.calibration.propagation == "dense" or self.schedule.reads_statistics
        return self.calibration if reads_dense else None

    @property
    def needs(self) -> tuple[StatisticsName, ...]:
        """Statistics that the score and the refiner read."""
        return needs_of(self.score, self.refinement)

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


def scored_variant(identity: Identity, model: ModelRef) -> ScoredVariant:
    """Build a scored variant from the identity in its record; absent parameters have their defaults."""
    parameters: Mapping[str, Any] = identity.parameters
    parents: Mapping[str, Any] = identity.parents
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


def needs_of(score: ScoreSpec, refinement: RefinementSpec | None) -> tuple[StatisticsName, ...]:
    """Return the statistics that a score and a refiner read."""
    return tuple(dict.fromkeys((*score.method.needs, *(refinement.method.needs if refinement else ()))))


def refinement_of(parameters: Mapping[str, Any]) -> RefinementSpec | None:
    """Return the refinement in the parameters of a variant's record; None if there is none."""
    return RefinementSpec.from_parameters(parameters["refinement"]) if "refinement" in parameters else None


def block_identity(ordering_id: str, block: int, *, parents: JsonObject) -> Identity:
    """Identity of the masks of one block of an ordering or sweep."""
    return make_identity("mask_blocks", {"ordering": ordering_id, "block": block}, parents=parents)


def _schedule_parameters(schedule: ScheduleSpec) -> JsonObject:
    losses: JsonObject = {} if schedule.losses is None else {"losses": schedule.losses}
    return {**dict(_nested(schedule.parameters, "schedule_parameters")), **losses}


def _nested(parameters: JsonObject, name: str) -> Iterator[tuple[str, JsonValue]]:
    """Yield the items of an object among some parameters."""
    value = parameters.get(name)
    if isinstance(value, Mapping):
        yield from value.items()
