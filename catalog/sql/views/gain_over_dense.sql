-- gain_over_dense: one row per evaluation of a variant and metric: its difference to the dense model of the variant.
-- Evaluations that a larger or later one replaces are left out.
CREATE OR REPLACE VIEW gain_over_dense AS
SELECT
    v.base_model_id,
    c.variant_id,
    v.label,
    v.score,
    v.structure,
    v.propagation,
    v.sparsity,
    v.set_kind,
    v.source_language,
    v.target_language,
    v.seed,
    v.demonstration_label,
    v.settings,
    c.task,
    c.language,
    c.split,
    c.metric,
    m.scoring_rule,
    m.example_limit,
    m.protocol_id,
    m.value,
    b.value AS dense_value,
    c.difference,
    c.scale,
    c.ci_low,
    c.ci_high,
    c.p_value,
    c.interval_contradicts_p,
    c.p_corrected,
    c.q_bh,
    c.test_family,
    c.n_family,
    c.is_primary,
    c.n_gained,
    c.n_lost,
    c.smallest_significant,
    c.detectable_difference,
    c.conditional_on_one_draw,
    m.higher_is_better,
    m.n,
    c.n_clusters,
    c.evaluation_id,
    c.baseline_evaluation_id
FROM comparisons AS c
ANTI JOIN outdone_evaluations AS o ON o.evaluation_id = c.evaluation_id
JOIN described_variants AS v ON v.variant_id = c.variant_id
JOIN dense_values AS b
    ON b.evaluation_id = c.baseline_evaluation_id AND b.metric = c.metric AND b.base_model_id = v.base_model_id
JOIN metrics AS m
    ON m.evaluation_id = c.evaluation_id
    AND m.metric = c.metric
    AND m.task = c.task
    AND m.split = c.split
    AND m.language = c.language;
-- dense_value: the dense model's value
-- p_corrected: p_value after Holm's correction over the family of the comparison
-- value: value of the metric; a fraction, never percent
