"""Kinds of records and the version of the step that makes each."""

STEP_VERSIONS = {
    "base_models": 1,
    "demonstration_sets": 2,
    "statistics": 2,
    "statistics_parts": 1,
    "activations": 1,
    "neuron_activity": 1,
    "neuron_removals": 1,
    "outliers": 1,
    "hidden_means": 1,
    "lrp2_trials": 1,
    "lrp2_choices": 1,
    "self_translations": 1,
    "mask_blocks": 2,
    "masks": 2,
    "variants": 2,
    "evaluations": 3,
    "comparisons": 1,
    "rank_consistency": 2,
    "mask_overlaps": 1,
    "feature_overlaps": 1,
    "harness_evaluations": 2,
    "recipes": 1,
}
"""Kind of record -> version of the step that makes it; raised when a step's result changes, and part of every id."""
