"""The kinds of records and the table of variants that experts add, and what makes these variants."""

from collections.abc import Mapping

from mlprune.store.record_kind import RecordKind

EXPERT_STATISTICS = RecordKind(
    1,
    "demonstration set whose tokens are counted for every expert, with gate weights and norms of outputs",
    folders=("routing",),
    tables={"expert_statistics": "expert_statistics_id", "expert_tokens": "observation_id"},
)
"""Kind of the routing statistics."""
EXPERT_OVERLAPS = RecordKind(
    1,
    "share and pair of demonstration sets whose most frequent experts are compared",
    tables={"expert_overlaps": None},
    job="mlprune.capabilities.experts.expert_overlaps:ExpertOverlapJob.of_record",
    pair_of="expert_statistics",
)
"""Kind of the overlaps by language."""
ROUTING_ENTROPY = RecordKind(
    1,
    "demonstration set with the entropies of the routers and of the use of experts, by language",
    tables={"routing_entropy": "routing_entropy_id"},
)
"""Kind of the entropies by language."""
EXPERT_TABLES: Mapping[str, str | None] = {"variant_experts": "variant_id"}
"""Table to which the record of a variant without experts adds rows -> column with its id."""
VARIANTS: Mapping[str, str] = dict.fromkeys(
    ("experts", "all_experts"), "mlprune.capabilities.experts.expert_masks:ExpertVariants"
)
"""Structure -> class that plans and makes its variants."""
