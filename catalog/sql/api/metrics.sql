-- metrics: one row per value of a metric, as in measured, with the columns that describe the variant and its number in
-- variant_columns
WITH numbered AS (
    SELECT *, (row_number() OVER (ORDER BY base_model_id, sparsity, label, variant_id) - 1)::INTEGER AS variant_number
    FROM internal.variant_descriptions
)
SELECT
    v.label, m.task, m.language, m.split, m.metric, m.value, m.ci_low, m.ci_high, m.n, m.dense_value, m.sparsity, m.is_dense,
    v.method, v.score, v.structure, v.propagation, v.demonstration_label, v.seed, v.settings,
    m.higher_is_better, m.scoring_rule, m.example_limit, m.prompt_language, m.protocol_id,
    m.evaluation_id, v.variant_id, v.base_model_id, v.variant_number
FROM measured AS m
JOIN numbered AS v ON v.variant_id = m.variant_id;
