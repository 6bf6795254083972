"""The keys of a variant of a recipe, and what follows from them."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from mlprune.capabilities.blocks import keys as of_blocks
from mlprune.capabilities.experts import keys as of_experts
from mlprune.capabilities.neurons.keys import NeuronsConfig
from mlprune.capabilities.quantisation.keys import Bits, QuantisationGroup, Quantise
from mlprune.capabilities.reconstruction.keys import ReconstructConfig
from mlprune.capabilities.recovery.keys import Recover
from mlprune.capabilities.units import keys as of_units
from mlprune.capabilities.vocabulary.keys import VOCABULARY, KeepConfig
from mlprune.methods import AGGREGATIONS, Parameters, StatisticsName
from mlprune.methods.plugins import REFINER_METHODS, SCORE_METHODS, STRUCTURE_METHODS, PluginParameters, PluginSource
from mlprune.recipe import options
from mlprune.recipe.base import AgainstConfig, EntryName, RegisteredName, Seed
from mlprune.recipe.names import NamesOf, OfCapability, WithoutScore
from mlprune.recipe.schedule_and_scope import ScheduleConfig, ScopeConfig, Sparsity
from mlprune.strict_model import Model
from mlprune.vocabulary import CombinationName, ProfileName, PropagationName, RemovesName, TokenScope

DENSE_STRUCTURES: Mapping[str, str] = {VOCABULARY: "keep"}
"""Structure of entries that change the dense model without a score -> the key that says how."""
DERIVATIONS = ("reconstruct", "recover", "bits", "quantise", "keep")
"""Keys that derive a further variant from the variant of the other keys, in the order in which they apply."""
_SCORE = options.MethodName(SCORE_METHODS)
_AGGREGATION = RegisteredName("aggregation", tuple(AGGREGATIONS))
_REFINER = options.MethodName(REFINER_METHODS)
ScoreName = Annotated[str, AfterValidator(_SCORE), Field(title=_SCORE.title)]
AggregationName = Annotated[str, AfterValidator(_AGGREGATION), Field(title=_AGGREGATION.title)]
RefinerName = Annotated[str, AfterValidator(_REFINER), Field(title=_REFINER.title)]
_STRUCTURE = options.StructureNames(STRUCTURE_METHODS)
StructureName = Annotated[
    str,
    AfterValidator(lambda name: name if name in DENSE_STRUCTURES else _STRUCTURE(name)),
    Field(title=", ".join((*(f"`{name}`" for name in DENSE_STRUCTURES), _STRUCTURE.title))),
]
STATISTICS_KEYS = ("tokens", "samples", "resample", "propagation")
"""Keys about statistics. Methods without statistics ignore them, so that lists of scores can multiply out."""


class VariantFields(Model):
    """One variant."""

    name: Annotated[EntryName | None, WithoutScore()] = None
    """Name that `against`, `of` and an evaluation's `variants` refer to; unique among the entries."""
    score: Annotated[
        ScoreName | None,
        OfCapability("units", of_units.SCORES_OF_UNITS),
        OfCapability("blocks", of_blocks.SCORES_OF_BLOCKS),
        OfCapability("experts", of_experts.SCORES_OF_EXPERTS),
    ] = None
    """Importance of a weight; needed except for combinations and the dense model."""
    refine: RefinerName | None = None
    """How the mask of the score is improved at equal sparsity, or its kept weights recovered (neither)."""
    parameters: options.PluginPairs = ()
    """Parameters of the plug-ins that the entry names; lists multiply out."""
    demonstrations: Annotated[str | None, NamesOf("sets")] = None
    """Name of the sets whose statistics the score reads, one variant per set; magnitude and random ignore it."""
    over: Annotated[tuple[str, ...], NamesOf("sets")] = ()
    """Instead of `demonstrations`: names of two or more sets that one variant reads together; with several seeds, one
    variant per seed."""
    aggregate: AggregationName | None = None
    """How the sets of `over` are combined; needed with `over`."""
    shares: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """aggregate mean, pooled: weights of the sets of `over` in any unit, one per set of a seed, in their order
    (equal)."""
    contrast: Annotated[str | None, NamesOf("sets")] = None
    """contrast: name of the contrast sets; each set is paired with the contrast set of the same seed."""
    tokens: TokenScope = "all"
    """Tokens that count in the statistics; magnitude and random ignore it."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Only the first N demonstrations of each set (all). Dense propagation needs no new pass of the model for it;
    magnitude and random ignore it."""
    resample: Seed | None = None
    """Seed of a bootstrap: all demonstrations are drawn with replacement; magnitude and random ignore it."""
    sparsity: Annotated[Sparsity | None, WithoutScore(("dense",))] = None
    """Share of weights removed from each comparison group, or of blocks, sub-layers or experts; 0 is dense. Optional
    for structure N:M and schedule search; score given has none."""
    structure: Annotated[
        StructureName | None,
        OfCapability("units", of_units.STRUCTURES),
        OfCapability("blocks", of_blocks.STRUCTURES),
        OfCapability("experts", of_experts.STRUCTURES),
        WithoutScore(tuple(DENSE_STRUCTURES)),
    ] = None
    """Comparison group: an output row, the whole matrix, Wanda's alpha variant, or M consecutive inputs of a row, of
    which N are removed; M has to divide every layer's number of inputs (`row`; sparsegpt and alps: `matrix`). `blocks`
    removes whole blocks of the model, which hidden states then pass unchanged; `sublayers`, whole attention and
    feed-forward sub-layers, which then add exactly 0 to hidden states; `experts`, experts of every block, and
    `all_experts`, those of all blocks that score lowest. Every block keeps as many experts as a token chooses.
    `vocabulary` removes only the tokens that `keep` does not name, and has no score."""
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
    reconstruct: Annotated[
        ReconstructConfig | None, OfCapability("reconstruction"), WithoutScore(("combination", "adopted"))
    ] = None
    """Fits the kept weights of each block after pruning. The variant without it is planned too. Also for combinations
    and adopted checkpoints; nothing happens at sparsity 0."""
    recover: Recover = None
    """Optimises the kept weights of all blocks together towards the distributions of the dense model, after
    `reconstruct` if both are given. The variant without it is planned too. Also for combinations and adopted
    checkpoints; nothing happens at sparsity 0."""
    bits: Bits = None
    """Bits of a weight after the masks: all weights of the layers that can be pruned are rounded to the nearest level.
    The variant without it is planned too. Also for combinations, and for the dense model (`sparsity: 0`)."""
    quantisation_group: QuantisationGroup = 128
    """bits: consecutive inputs of a row that share a scale."""
    quantise: Quantise = None
    """Rounds all weights of the layers that can be pruned to codes after the masks, which stay; instead of `bits`. The
    variant without it is planned too. Also for combinations, and for the dense model (`sparsity: 0`)."""
    neurons: Annotated[NeuronsConfig | None, OfCapability("neurons"), WithoutScore(("neurons",), chooses=True)] = None
    """Feed-forward neurons that the variant lacks, instead of weights by a score; allowed with `name`, `against`,
    `bits`, `quantisation_group`, `quantise` and `keep` only."""
    adopt: Annotated[
        Annotated[str, Field(min_length=1)] | None, OfCapability("adoption"), WithoutScore(("adopted",), chooses=True)
    ] = None
    """Instead of a score: folder of a pruned checkpoint made elsewhere, or its hub id with an optional `@REVISION`."""
    keep: Annotated[KeepConfig | None, OfCapability("vocabulary"), WithoutScore()] = None
    """The tokens that stay, with the weights of the dense model (`structure: vocabulary`) or of the variant that the
    other keys describe. The variant with all tokens is planned too."""
    combine: Annotated[CombinationName | None, WithoutScore(("combination",), chooses=True)] = None
    """Set operation that combines the kept weights of other variants; allowed with `of`, `name`, `against`, `bits`,
    `quantisation_group`, `quantise` and `keep` only."""
    of: Annotated[
        tuple[str, ...], NamesOf("variants", not_itself=True), WithoutScore(("combination",), chooses=True)
    ] = ()
    """Names of the entries that are combined."""
    against: Annotated[tuple[AgainstConfig, ...], NamesOf("evaluated"), WithoutScore()] = ()
    """Names of other entries to compare with, in addition to dense. Variants are compared if they agree in sparsity and
    structure and, if both read demonstrations, in propagation, source language and seed, each unless
    `{name: mono, ignore: [language]}` leaves it out."""

    @property
    def reads_statistics(self) -> bool:
        """Whether the variant reads demonstrations."""
        is_pruned = bool(self.sparsity) or (self.sparsity is None and self.schedule.kind == "search")
        reads_states = self.score is not None and options.score_named(self.score).reads_states
        return is_pruned and (bool(self.needs) or reads_states)

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
    def is_dense(self) -> bool:
        """Whether it has all weights of the dense model, apart from what is derived from it."""
        return self.sparsity == 0 or self.structure in DENSE_STRUCTURES

    @property
    def group(self) -> str:
        """The structure, or the default of the score."""
        if self.structure in DENSE_STRUCTURES:
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
