-- dense_values: inserts the metrics of dense models, of profile corrected, that are missing.
-- depends on metrics, variants
INSERT INTO internal.dense_values BY NAME
SELECT
    v.base_model_id, m.evaluation_id, m.task, m.language, m.split, m.metric, m.higher_is_better,
    m.scoring_rule, m.example_limit, m.protocol_id, m.value, m.ci_low, m.ci_high
FROM metrics AS m
JOIN internal.variant_descriptions AS v ON v.variant_id = m.variant_id AND v.is_dense
WHERE m.profile = 'corrected'
ON CONFLICT (evaluation_id, metric) DO NOTHING;
