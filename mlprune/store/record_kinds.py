"""The kinds of records a store holds: one entry per kind, with everything that other modules need to know of it.

The entries are in the order in which a merge copies them: as far as kinds allow it, a kind comes after those it is made
from.
"""

from collections.abc import Mapping

from mlprune.capabilities.adoption.records import NOT_REBUILT as OF_ADOPTION
from mlprune.capabilities.adoption.records import OF_VARIANTS as OF_ADOPTED
from mlprune.capabilities.baselines.records import HIDDEN_MEANS
from mlprune.capabilities.baselines.records import KINDS as OF_BASELINES
from mlprune.capabilities.blocks.records import SUBLAYER_INFLUENCE
from mlprune.capabilities.blocks.records import VARIANTS as WITHOUT_BLOCKS
from mlprune.capabilities.distance.records import DENSE_STATES
from mlprune.capabilities.experts.records import EXPERT_OVERLAPS, EXPERT_STATISTICS, EXPERT_TABLES, ROUTING_ENTROPY
from mlprune.capabilities.experts.records import VARIANTS as WITHOUT_EXPERTS
from mlprune.capabilities.generation.records import KINDS as OF_GENERATION
from mlprune.capabilities.harness.records import KINDS as OF_HARNESS
from mlprune.capabilities.neurons.records import NEURON_ACTIVITY, NEURON_REMOVALS, NEURON_TABLES
from mlprune.capabilities.neurons.records import VARIANTS as WITHOUT_NEURONS
from mlprune.capabilities.quantisation.records import OF_BLOCKS as OF_CODED_BLOCKS
from mlprune.capabilities.reconstruction.records import OF_BLOCKS
from mlprune.capabilities.recovery.records import FOLDER as CHECKPOINTS
from mlprune.capabilities.recovery.records import OF_VARIANTS as OF_RECOVERED_VARIANTS
from mlprune.capabilities.search.records import KINDS as OF_SEARCH
from mlprune.capabilities.sensitivity.records import KINDS as OF_SENSITIVITY
from mlprune.capabilities.token_share.records import TOKEN_SHARES
from mlprune.capabilities.units.records import UNIT_TABLES
from mlprune.capabilities.units.records import VARIANTS as WITHOUT_UNITS
from mlprune.capabilities.vocabulary.records import KINDS as OF_VOCABULARY
from mlprune.capabilities.vocabulary.records import OF_VARIANTS
from mlprune.store.record_kind import RecordKind

RECORD_KINDS: Mapping[str, RecordKind] = {
    "base_models": RecordKind(
        1, "base model", tables={"base_models": "base_model_id", "model_layers": "base_model_id"}
    ),
    **OF_GENERATION,
    "demonstration_sets": RecordKind(
        2,
        "demonstration set",
        folders=("demonstrations",),
        tables={"demonstration_sets": "demonstration_set_id", "demonstration_set_parts": "demonstration_set_id"},
    ),
    "statistics_parts": RecordKind(
        1,
        "part of a large demonstration set, so that workers share the set and a killed run resumes",
        folders=("statistics", "features"),
    ),
    "statistics": RecordKind(
        2,
        "demonstration set and token scope, observed on the dense model",
        folders=("statistics", "features"),
        tables={
            "statistics": "statistics_id",
            "feature_magnitudes": "statistics_id",
            "expert_tokens": "observation_id",
        },
    ),
    "observed_blocks": RecordKind(
        1,
        "block of a set that is observed block by block, so that a killed pass resumes",
        folders=("statistics", "features", "sums", "products", "gradients"),
    ),
    "feature_sums": RecordKind(
        1, "set and token scope with sums of the features, for means and variances", folders=("sums",)
    ),
    "gram_matrices": RecordKind(
        1, "set and token scope with the Gram matrices of the inputs of layers", folders=("products",)
    ),
    "regional_gradients": RecordKind(
        1, "set and token scope with the regional gradients of all weights", folders=("gradients",)
    ),
    "activations": RecordKind(
        1,
        "demonstration set and choice of blocks, inputs and demonstrations whose raw activations are stored",
        folders=("activations",),
    ),
    "hidden_means": HIDDEN_MEANS,
    "neuron_activity": NEURON_ACTIVITY,
    "expert_statistics": EXPERT_STATISTICS,
    "routing_entropy": ROUTING_ENTROPY,
    "block_influence": RecordKind(
        1,
        "demonstration set whose hidden states are compared before and after every block",
        tables={"block_influence": "block_influence_id"},
    ),
    "sublayer_influence": SUBLAYER_INFLUENCE,
    "outliers": RecordKind(
        1,
        "statistics and threshold whose outlier ratios schedule `owl` reads",
        tables={"outlier_ratios": "outliers_id"},
        job="mlprune.steps.prune.block_values:OutliersJob.of_record",
    ),
    "spectra": RecordKind(
        1,
        "block of the dense model whose weight spectra schedule `alpha_pruning` reads",
        tables={"layer_spectra": "spectra_id"},
        job="mlprune.steps.prune.block_values:SpectraJob.of_record",
    ),
    "block_values": RecordKind(
        1,
        "quantity whose values of the blocks of the dense model a schedule such as `dlp` or `alpha_pruning` reads",
        tables={"block_values": "block_values_id"},
        job="mlprune.steps.prune.block_values:job_of_values",
    ),
    "mask_blocks": RecordKind(
        2,
        "block of an ordering or of a sweep, so that a killed one resumes",
        folders=("masks", "statistics", "weights", "biases", "embeddings", CHECKPOINTS),
        tables={"refined_layers": None, "expert_tokens": None, **OF_BLOCKS, **OF_CODED_BLOCKS},
    ),
    "masks": RecordKind(
        3,
        "ordering: the masks of one score at all sparsities of a recipe, of one sweep, or of one combination",
        folders=("masks", "statistics", "weights", "biases", "embeddings"),
        tables={"orderings": "ordering_id", "ordering_variants": "ordering_id"},
    ),
    "mask_compositions": RecordKind(
        1,
        "variant whose layers have masks of several sparsities of one ordering; its rows are the levels",
        tables={"compositions": "composition_id", "composed_layers": "composition_id"},
    ),
    "variants": RecordKind(
        3,
        "variant, the dense one included",
        folders=("vocabulary",),
        tables={
            "variants": "variant_id",
            "variant_demonstrations": "variant_id",
            "variant_layers": "variant_id",
            **UNIT_TABLES,
            **NEURON_TABLES,
            **EXPERT_TABLES,
            "variant_parents": "variant_id",
            **OF_VARIANTS,
            **OF_ADOPTED,
            **OF_RECOVERED_VARIANTS,
        },
    ),
    "neuron_removals": NEURON_REMOVALS,
    "layer_errors": RecordKind(
        1,
        "variant and demonstration set on whose tokens the change of every layer's output is computed",
        tables={"layer_errors": None},
        job="mlprune.steps.compare.layer_errors:LayerErrorsJob.of_record",
    ),
    **OF_BASELINES,
    **OF_VOCABULARY,
    "task_items": RecordKind(
        1, "task, language and split whose items were evaluated", folders=("items",), tables={"tasks": "items_id"}
    ),
    "item_flows": RecordKind(
        1,
        "task, language and split: number of items that were read, left out for each reason, and kept",
        tables={"item_flows": None},
    ),
    "dense_states": DENSE_STATES,
    "evaluations": RecordKind(
        6,
        "variant, task, language, split and rule",
        folders=("predictions",),
        tables={"evaluations": "evaluation_id", "metrics": "evaluation_id"},
    ),
    "comparisons": RecordKind(
        6,
        "variant, baseline, task and split whose evaluations are compared, by language and over groups of languages",
        folders=("contributions",),
        tables={
            "comparison_results": "comparison_id",
            "aggregate_results": "comparison_id",
            "pooled_languages": "comparison_id",
        },
        shown_since=5,
        job="mlprune.steps.compare.differences:CompareJob.of_record",
    ),
    "rank_consistency": RecordKind(
        6,
        "variant and task whose rankings of candidates are compared between languages",
        tables={"rank_consistency": None},
        shown_since=6,
        job="mlprune.steps.compare.rank_consistency:RankConsistencyJob.of_record",
    ),
    "answers": RecordKind(
        3,
        "question about comparisons, declared by a recipe or asked of every task",
        tables={"answer_results": "question_id"},
        job="mlprune.steps.questions.answers:AnswerJob.of_record",
    ),
    "seed_components": RecordKind(
        2,
        "task and group of variants that differ in nothing but a seed: its share in their difference to dense",
        tables={"seed_components": "seed_components_id"},
        job="mlprune.steps.compare.seeds:SeedComponentsJob.of_record",
    ),
    "choices": RecordKind(
        2,
        "task whose variants are chosen on dev and reported on test",
        tables={"choices": "choice_id", "pareto_chances": "choice_id"},
        job="mlprune.steps.choices.choice:ChoiceJob.of_record",
    ),
    **OF_SENSITIVITY,
    "mask_overlaps": RecordKind(
        1,
        "pair of variants whose keep masks are compared",
        tables={"mask_overlaps": None},
        job="mlprune.steps.compare.overlaps:MaskOverlapJob.of_record",
    ),
    "expert_overlaps": EXPERT_OVERLAPS,
    "feature_overlaps": RecordKind(
        1,
        "pair of demonstration sets whose strongest features are compared",
        tables={"feature_overlaps": None},
        job="mlprune.steps.compare.overlaps:FeatureOverlapJob.of_record",
        pair_of="statistics",
    ),
    "token_shares": TOKEN_SHARES,
    **OF_SEARCH,
    **OF_HARNESS,
    "recipes": RecordKind(
        1,
        "recipe: the names it gives to variants, sets and models, and its questions",
        tables={"names": None, "questions": None, "question_variants": None, "recipe_questions": None},
    ),
}
"""Name of the kind -> what there is to know of it."""
NOT_REBUILT: Mapping[str, tuple[str, str]] = {**OF_ADOPTION}
"""Parameter of a variant whose masks do not follow from the store -> why, and what to do instead."""
VARIANTS_OF_STRUCTURES: Mapping[str, str] = {
    **WITHOUT_UNITS,
    **WITHOUT_BLOCKS,
    **WITHOUT_NEURONS,
    **WITHOUT_EXPERTS,
}
"""Structure whose variants a capability makes -> its `StructureVariants`, as `module:name`."""
ARTEFACT_FOLDERS: tuple[str, ...] = tuple(sorted({name for kind in RECORD_KINDS.values() for name in kind.folders}))
"""The folders of a store in which records have artefacts."""
_RENAMED_TABLES: Mapping[str, str] = {"answers": "answer_results"}
"""Name of a table in records -> its name in the catalog."""


def artefact_folders(kind: str) -> tuple[str, ...]:
    """Return the folders of the store in which records of a kind may have artefacts.

    For a kind that this version does not know, these are the folders of all kinds.
    """
    return RECORD_KINDS[kind].folders if kind in RECORD_KINDS else ARTEFACT_FOLDERS


def is_shown(kind: str, step_version: int) -> bool:
    """Whether the catalog shows the rows of records of a kind and version."""
    return kind not in RECORD_KINDS or step_version >= RECORD_KINDS[kind].shown_since


def table_of(name: str) -> str:
    """Return the table of the catalog to which a record's rows under this name belong."""
    return _RENAMED_TABLES.get(name, name)
