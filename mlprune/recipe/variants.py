"""Variants of a recipe: how weights are scored, compared and removed, or which variants are combined.

The keys of the parameters of scores, refiners, schedules and aggregations come from their registries.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mlprune.methods import AGGREGATIONS, REFINERS, SCORES, Parameters, StatisticsName, pattern_of
from mlprune.methods.plugins import REFINER_METHODS, SCORE_METHODS, STRUCTURE_METHODS, PluginParameters, PluginSource
from mlprune.recipe.analyses import NeuronsConfig
from mlprune.recipe.base import EntryName, Model, RegisteredName, Seed
from mlprune.recipe.options import check_owners, chosen_parameters, with_options
from mlprune.recipe.plugins import method_names
from mlprune.recipe.plugins.plugin_parameters import PluginPairs, check_parameters, method_parameters
from mlprune.recipe.schedule_and_scope import ScheduleConfig, ScopeConfig, Sparsity
from mlprune.recipe.variant_checks import (
    check_changed_weights,
    check_choice_of_demonstrations,
    check_kind,
    check_permuted,
    check_quantisation,
    check_refiner,
    check_structure,
    check_units,
    named_methods,
)
from mlprune.vocabulary import CombinationName, ProfileName, PropagationName, RemovesName, TokenScope

_SCORE = method_names.MethodName(SCORE_METHODS)
_AGGREGATION = RegisteredName("aggregation", tuple(AGGREGATIONS))
_REFINER = method_names.MethodName(REFINER_METHODS)
ScoreName = Annotated[str, AfterValidator(_SCORE), Field(title=_SCORE.title)]
AggregationName = Annotated[str, AfterValidator(_AGGREGATION), Field(title=_AGGREGATION.title)]
RefinerName = Annotated[str, AfterValidator(_REFINER), Field(title=_REFINER.title)]
_STRUCTURE = method_names.StructureNames(STRUCTURE_METHODS)
StructureName = Annotated[str, AfterValidator(_STRUCTURE), Field(title=_STRUCTURE.title)]
STATISTICS_KEYS = ("tokens", "samples", "resample", "propagation")
"""Keys about statistics. Methods without statistics ignore them, so that lists of scores can multiply out."""


class VariantFields(Model):
    """One variant."""

    name: EntryName | None = None
    """Name that `against`, `of` and an evaluation's `variants` refer to; unique among the entries."""
    score: ScoreName | None = None
    """Importance of a weight; needed except for combinations and the dense model."""
    refine: RefinerName | None = None
    """How the mask of the score is improved at equal sparsity, or its kept weights recovered (neither)."""
    parameters: PluginPairs = ()
    """Parameters of the plug-ins that the entry names; lists multiply out."""
    demonstrations: str | None = None
    """Name of the sets whose statistics the score reads, one variant per set; magnitude and random ignore it."""
    over: tuple[str, ...] = ()
    """Instead of `demonstrations`: names of two or more sets that one variant reads together; with several seeds, one
    variant per seed."""
    aggregate: AggregationName | None = None
    """How the sets of `over` are combined; needed with `over`."""
    shares: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """aggregate mean, pooled: weights of the sets of `over` in any unit, one per set of a seed, in their order
    (equal)."""
    contrast: str | None = None
    """contrast: name of the contrast sets; each set is paired with the contrast set of the same seed."""
    tokens: TokenScope = "all"
    """Tokens that count in the statistics; magnitude and random ignore it."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Only the first N demonstrations of each set (all). Dense propagation needs no new pass of the model for it;
    magnitude and random ignore it."""
    resample: Seed | None = None
    """Seed of a bootstrap: all demonstrations are drawn with replacement; magnitude and random ignore it."""
    sparsity: Sparsity | None = None
    """Share of weights removed from each comparison group; 0 is the dense variant. Optional for structure N:M and
    schedule search."""
    structure: StructureName | None = None
    """Comparison group: an output row, the whole matrix, Wanda's alpha variant, or M consecutive inputs of a row, of
    which N are removed; M has to divide every layer's number of inputs (`row`; sparsegpt and alps: `matrix`)."""
    permute: bool = False
    """structure N:M: permute the inputs of each layer first, so that the scores that are kept have a higher sum; the
    mask is N:M in the permuted order only."""
    removes: RemovesName = "lowest"
    """`highest` removes the most important weights: an ablation."""
    propagation: PropagationName = "sequential"
    """Blocks before an observed block: pruned ones (`sequential`) or those of the dense model (`dense`); magnitude and
    random ignore it."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Distribution of the sparsity over blocks and layers."""
    scope: ScopeConfig = ScopeConfig()
    """Blocks and layers that are pruned (all)."""
    profile: ProfileName = "corrected"
    """`paper` follows the published code; needs `tokens: all`."""
    bits: Literal[8, 4] | None = None
    """Bits of a weight after the masks: all weights of the layers that can be pruned are rounded to the nearest level.
    The variant without it is planned too, for comparison. Also for combinations, and for the dense model
    (`sparsity: 0`)."""
    quantisation_group: Annotated[int, Field(ge=1)] = 128
    """bits: consecutive inputs of a row that share a scale."""
    neurons: NeuronsConfig | None = None
    """Feed-forward neurons that the variant lacks, instead of weights by a score; allowed with `name`, `against`,
    `bits` and `quantisation_group` only."""
    combine: CombinationName | None = None
    """Set operation that combines the kept weights of other variants; allowed with `of`, `name`, `against`, `bits` and
    `quantisation_group` only."""
    of: tuple[str, ...] = ()
    """Names of the entries that are combined."""
    against: tuple[str, ...] = ()
    """Names of other entries to compare with, in addition to dense. Variants are compared if they agree in sparsity and
    structure and, if both read demonstrations, in propagation, source language and seed."""

    @property
    def reads_statistics(self) -> bool:
        """Whether the variant reads demonstrations."""
        is_pruned = bool(self.sparsity) or (self.sparsity is None and self.schedule.kind == "search")
        return is_pruned and bool(self.needs)

    @property
    def needs(self) -> tuple[StatisticsName, ...]:
        """Statistics that the score and the refiner read."""
        of_score = method_names.score_named(self.score).needs if self.score else ()
        of_refiner = method_names.refiner_named(self.refine).needs if self.refine else ()
        return tuple(dict.fromkeys((*of_score, *of_refiner)))

    @property
    def ignored_keys(self) -> tuple[str, ...]:
        """Keys of the entry that its methods ignore because they read no statistics."""
        if self.score is None or self.needs:
            return ()
        return tuple(key for key in STATISTICS_KEYS if key in self.model_fields_set)

    @property
    def group(self) -> str:
        """The structure, or the default of the score."""
        return self.structure or (method_names.score_named(self.score).structures[0] if self.score else "row")

    @property
    def score_parameters(self) -> Parameters:
        """The parameters of the score."""
        return method_parameters(self, SCORE_METHODS, self.score) if self.score else Parameters()

    @property
    def refiner_parameters(self) -> Parameters:
        """The parameters of the refiner."""
        return method_parameters(self, REFINER_METHODS, self.refine) if self.refine else Parameters()

    @property
    def score_source(self) -> PluginSource | None:
        """Where the score comes from; None if it is built in."""
        return SCORE_METHODS.find(self.score)[1] if self.score else None

    @property
    def refiner_source(self) -> PluginSource | None:
        """Where the refiner comes from; None if it is built in."""
        return REFINER_METHODS.find(self.refine)[1] if self.refine else None

    @property
    def structure_source(self) -> PluginSource | None:
        """Where the structure comes from; None if it is built in."""
        return method_names.source_of_structure(self.group)

    @property
    def structure_parameters(self) -> PluginParameters:
        """The parameters of a structure that is a plug-in; none for the others."""
        parameters = method_parameters(self, STRUCTURE_METHODS, self.group) if self.structure_source else None
        return parameters if isinstance(parameters, PluginParameters) else PluginParameters()

    @property
    def aggregation_parameters(self) -> Parameters:
        """The parameters of the aggregation."""
        return chosen_parameters(self, AGGREGATIONS[self.aggregate]) if self.aggregate else Parameters()

    @model_validator(mode="before")
    @classmethod
    def _sparsity_of_n_m(cls, values: object) -> object:
        if not isinstance(values, dict) or ":" not in str(values.get("structure", "")):
            return values
        pattern = pattern_of(str(values["structure"]))
        if pattern is None or not 0 < pattern[0] < pattern[1]:
            raise ValueError(f"structure N:M needs 0 < N < M, got {values['structure']}")
        share = pattern[0] / pattern[1]
        given = values.get("sparsity", share)
        if given != share:
            raise ValueError(f"structure {values['structure']} has sparsity {share}, got {given}")
        return {**values, "sparsity": share}

    @model_validator(mode="after")
    def _is_scored_or_combined(self) -> "VariantFields":
        check_kind(self)
        check_quantisation(self)
        return self

    @model_validator(mode="after")
    def _parameters_are_known(self) -> "VariantFields":
        scores = {self.score: SCORE_METHODS.find(self.score)} if self.score else {}
        refiners = {self.refine: REFINER_METHODS.find(self.refine)} if self.refine else {}
        structures = {self.group: STRUCTURE_METHODS.find(self.group)} if self.structure_source else {}
        check_parameters(self, {**scores, **refiners, **structures})
        return self

    @model_validator(mode="after")
    def _sets_fit_score(self) -> "VariantFields":
        if self.reads_statistics and (self.demonstrations is None) != bool(self.over):
            message = "needs demonstrations, or over with several sets, and not both"
            raise ValueError(f"{named_methods(self)} {message}")
        has_contrast = self.score is not None and method_names.score_named(self.score).has_contrast
        if has_contrast != (self.contrast is not None):
            raise ValueError(f"score contrast needs contrast, and no other score takes it, got score {self.score}")
        if bool(self.over) != (self.aggregate is not None):
            raise ValueError(f"over and aggregate go together: {', '.join(AGGREGATIONS)}")
        if self.shares and not (self.aggregate and AGGREGATIONS[self.aggregate].takes_shares):
            names = " or ".join(name for name, method in AGGREGATIONS.items() if method.takes_shares)
            raise ValueError(f"shares are weights for aggregate {names}, got aggregate {self.aggregate}")
        check_owners(self, "aggregate", AGGREGATIONS, self.aggregate)
        return self

    @model_validator(mode="after")
    def _options_fit_score(self) -> "VariantFields":
        if self.score is None:
            return self
        score = method_names.score_named(self.score)
        check_owners(self, "score", SCORES, self.score)
        if self.schedule.reads_statistics and not score.needs:
            raise ValueError(f"schedule {self.schedule.kind} reads demonstrations, and score {self.score} has none")
        if self.sparsity == 0 and self.schedule.kind == "given":
            raise ValueError("sparsity 0 is the dense model, and a schedule cannot prune it: leave layers out by scope")
        if ":" in self.group and self.schedule.kind != "uniform":
            raise ValueError("structure N:M removes the same share everywhere: schedule uniform")
        if self.permute:
            check_permuted(self, score)
        if self.profile == "paper" and self.tokens != "all":
            raise ValueError("profile paper counts all tokens, padding included")
        if self.sparsity:
            check_structure(self, score)
            if score.changes_weights:
                check_changed_weights(self)
        check_refiner(self)
        check_units(self)
        check_choice_of_demonstrations(self)
        return self


if TYPE_CHECKING:

    class VariantConfig(VariantFields):
        """`VariantFields` with a key for every parameter of a score, refiner or aggregation."""

else:
    VariantConfig = with_options("VariantConfig", VariantFields, score=SCORES, refine=REFINERS, aggregate=AGGREGATIONS)
