"""Variants of a recipe: how weights are scored, compared and removed, or which are combined.

The keys of the parameters of scores, refiners, schedules and aggregations come from their registries.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mlprune.methods import (
    AGGREGATIONS,
    REFINERS,
    SCORES,
    Parameters,
    StatisticsName,
    pattern_of,
)
from mlprune.methods.plugins import REFINER_METHODS, SCORE_METHODS, STRUCTURE_METHODS, PluginParameters, PluginSource
from mlprune.recipe import options
from mlprune.recipe.analyses import KeepConfig, NeuronsConfig
from mlprune.recipe.base import AgainstConfig, EntryName, RegisteredName, Seed
from mlprune.recipe.schedule_and_scope import ScheduleConfig, ScopeConfig, Sparsity
from mlprune.recipe.variant_checks import (
    check_blocks,
    check_changed_weights,
    check_choice_of_demonstrations,
    check_contrast,
    check_permuted,
    check_refiner,
    check_structure,
    check_units,
    named_methods,
)
from mlprune.strict_model import Model
from mlprune.vocabulary import CombinationName, ProfileName, PropagationName, RemovesName, TokenScope

WITH_ANY_KIND = frozenset(("name", "against", "bits", "quantisation_group"))
"""Keys that also entries without a score may have."""
VOCABULARY = "vocabulary"
"""Structure of variants with fewer tokens."""
KEYS_WITHOUT_SCORE: Mapping[str, frozenset[str]] = {
    "neurons": frozenset(("neurons",)),
    "vocabulary": frozenset(("structure", "keep")),
    "combination": frozenset(("combine", "of")),
    "dense": frozenset(("sparsity",)),
    "adopted": frozenset(("adopt",)),
}
"""Kind of an entry without a score -> its keys, in addition to those of any kind."""


def check_kind(entry: "VariantFields") -> None:
    """Check that an entry is a combination, has neurons, a checkpoint or a score, or is the dense model.

    Raises:
        ValueError: it is nothing of that, or has keys of several.
    """
    kind = _kind_without_score(entry)
    if kind is not None:
        given = {key for key in entry.model_fields_set if getattr(entry, key) is not None}
        refused = sorted(given - KEYS_WITHOUT_SCORE[kind] - WITH_ANY_KIND)
        if kind == "combination" and not (entry.combine and entry.of):
            raise ValueError(f"combine and of go together, got {'combine' if entry.combine else 'of'} alone")
        if kind == "vocabulary" and (entry.keep is None or entry.structure != VOCABULARY or entry.bits):
            raise ValueError("structure: vocabulary and keep go together, without bits")
        if refused:
            keys = ", ".join(sorted(KEYS_WITHOUT_SCORE[kind] | WITH_ANY_KIND))
            raise ValueError(f"an entry of kind {kind} takes {keys}, and not {', '.join(refused)}")
        if len(set(entry.of)) < len(entry.of):
            raise ValueError(f"of names an entry twice, got {list(entry.of)}")
    elif entry.score is None:
        raise ValueError("a variant needs a score, adopt, or combine and of")
    elif entry.sparsity is None and entry.schedule.kind != "search" and entry.score != "given":
        raise ValueError("a variant needs a sparsity")


def _kind_without_score(entry: "VariantFields") -> str | None:
    """Return the kind of an entry that has no score by its keys; None for an entry that needs one."""
    given = {
        "neurons": entry.neurons is not None,
        "adopted": entry.adopt is not None,
        "combination": bool(entry.combine or entry.of),
        "vocabulary": entry.keep is not None or entry.structure == VOCABULARY,
        "dense": entry.score is None and entry.sparsity == 0,
    }
    return next((kind for kind, is_given in given.items() if is_given), None)


_SCORE = options.MethodName(SCORE_METHODS)
_AGGREGATION = RegisteredName("aggregation", tuple(AGGREGATIONS))
_REFINER = options.MethodName(REFINER_METHODS)
ScoreName = Annotated[str, AfterValidator(_SCORE), Field(title=_SCORE.title)]
AggregationName = Annotated[str, AfterValidator(_AGGREGATION), Field(title=_AGGREGATION.title)]
RefinerName = Annotated[str, AfterValidator(_REFINER), Field(title=_REFINER.title)]
_STRUCTURE = options.StructureNames(STRUCTURE_METHODS)
StructureName = Annotated[
    str,
    AfterValidator(lambda name: name if name == VOCABULARY else _STRUCTURE(name)),
    Field(title=f"`{VOCABULARY}`, {_STRUCTURE.title}"),
]
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
    parameters: options.PluginPairs = ()
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
    """Share of weights removed from each comparison group, or of blocks or experts; 0 is the dense variant. Optional
    for structure N:M and schedule search; score given has none."""
    structure: StructureName | None = None
    """Comparison group: an output row, the whole matrix, Wanda's alpha variant, or M consecutive inputs of a row, of
    which N are removed; M has to divide every layer's number of inputs (`row`; sparsegpt and alps: `matrix`). `blocks`
    removes whole blocks of the model, which hidden states then pass unchanged; `experts`, experts of every block, and
    `all_experts`, those of all blocks that score lowest. Every block keeps as many experts as a token chooses.
    `vocabulary` removes the tokens that `keep` does not name, and has no score."""
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
    The variant without it is planned too. Also for combinations, and for the dense model (`sparsity: 0`)."""
    quantisation_group: Annotated[int, Field(ge=1)] = 128
    """bits: consecutive inputs of a row that share a scale."""
    neurons: NeuronsConfig | None = None
    """Feed-forward neurons that the variant lacks, instead of weights by a score; allowed with `name`, `against`,
    `bits` and `quantisation_group` only."""
    adopt: Annotated[str, Field(min_length=1)] | None = None
    """Instead of a score: folder of a pruned checkpoint made elsewhere, or its hub id with an optional `@REVISION`."""
    keep: KeepConfig | None = None
    """structure vocabulary: the tokens that stay; allowed with `structure`, `name` and `against` only."""
    combine: CombinationName | None = None
    """Set operation that combines the kept weights of other variants; allowed with `of`, `name`, `against`, `bits` and
    `quantisation_group` only."""
    of: tuple[str, ...] = ()
    """Names of the entries that are combined."""
    against: tuple[AgainstConfig, ...] = ()
    """Names of other entries to compare with, in addition to dense. Variants are compared if they agree in sparsity and
    structure and, if both read demonstrations, in propagation, source language and seed, each unless
    `{name: mono, ignore: [language]}` leaves it out."""

    @property
    def reads_statistics(self) -> bool:
        """Whether the variant reads demonstrations."""
        is_pruned = bool(self.sparsity) or (self.sparsity is None and self.schedule.kind == "search")
        return is_pruned and (bool(self.needs) or self.score == "block_influence")

    @property
    def needs(self) -> tuple[StatisticsName, ...]:
        """Statistics that the score and the refiner read."""
        of_score = options.score_named(self.score).needs if self.score else ()
        of_refiner = options.refiner_named(self.refine).needs if self.refine else ()
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
        if self.structure == VOCABULARY:
            return "row"
        return self.structure or (options.score_named(self.score).structures[0] if self.score else "row")

    @property
    def score_parameters(self) -> Parameters:
        """The parameters of the score."""
        return options.method_parameters(self, SCORE_METHODS, self.score) if self.score else Parameters()

    @property
    def refiner_parameters(self) -> Parameters:
        """The parameters of the refiner."""
        return options.method_parameters(self, REFINER_METHODS, self.refine) if self.refine else Parameters()

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
        return options.source_of_structure(self.group)

    @property
    def structure_parameters(self) -> PluginParameters:
        """The parameters of a structure that is a plug-in; none for the others."""
        parameters = options.method_parameters(self, STRUCTURE_METHODS, self.group) if self.structure_source else None
        return parameters if isinstance(parameters, PluginParameters) else PluginParameters()

    @property
    def aggregation_parameters(self) -> Parameters:
        """The parameters of the aggregation."""
        return options.chosen_parameters(self, AGGREGATIONS[self.aggregate]) if self.aggregate else Parameters()

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
        if self.bits is None and "quantisation_group" in self.model_fields_set:
            raise ValueError("quantisation_group belongs to bits")
        return self

    @model_validator(mode="after")
    def _parameters_are_known(self) -> "VariantFields":
        scores = {self.score: SCORE_METHODS.find(self.score)} if self.score else {}
        refiners = {self.refine: REFINER_METHODS.find(self.refine)} if self.refine else {}
        structures = {self.group: STRUCTURE_METHODS.find(self.group)} if self.structure_source else {}
        options.check_parameters(self, {**scores, **refiners, **structures})
        return self

    @model_validator(mode="after")
    def _sets_fit_score(self) -> "VariantFields":
        if self.reads_statistics and (self.demonstrations is None) != bool(self.over):
            message = "needs demonstrations, or over with several sets, and not both"
            raise ValueError(f"{named_methods(self)} {message}")
        has_contrast = self.score is not None and options.score_named(self.score).has_contrast
        if has_contrast != (self.contrast is not None):
            raise ValueError(f"score contrast needs contrast, and no other score takes it, got score {self.score}")
        if bool(self.over) != (self.aggregate is not None):
            raise ValueError(f"over and aggregate go together: {', '.join(AGGREGATIONS)}")
        if self.shares and not (self.aggregate and AGGREGATIONS[self.aggregate].takes_shares):
            names = " or ".join(name for name, method in AGGREGATIONS.items() if method.takes_shares)
            raise ValueError(f"shares are weights for aggregate {names}, got aggregate {self.aggregate}")
        options.check_owners(self, "aggregate", AGGREGATIONS, self.aggregate)
        return self

    @model_validator(mode="after")
    def _options_fit_score(self) -> "VariantFields":
        if self.score is None:
            return self
        score = options.score_named(self.score)
        options.check_owners(self, "score", SCORES, self.score)
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
        check_blocks(self, score)
        if self.sparsity:
            check_structure(self, score)
            if score.changes_weights:
                check_changed_weights(self)
        check_refiner(self)
        check_units(self)
        check_contrast(self)
        check_choice_of_demonstrations(self)
        return self


if TYPE_CHECKING:

    class VariantConfig(VariantFields):
        """`VariantFields` with a key for every parameter of a score, refiner or aggregation."""

else:
    VariantConfig = options.with_options(
        "VariantConfig", VariantFields, score=SCORES, refine=REFINERS, aggregate=AGGREGATIONS
    )
