-- metrics: one row per value of a metric, as in measured, with the columns that describe the variant
SELECT
    m.label, m.task, m.language, m.split, m.metric, m.value, m.ci_low, m.ci_high, m.n, m.dense_value,
    v.method, v.score, v.structure, v.propagation, v.demonstration_label, v.seed, v.settings,
    m.* EXCLUDE (label, task, language, split, metric, value, ci_low, ci_high, n, dense_value)
FROM measured AS m
JOIN variant_descriptions AS v ON v.variant_id = m.variant_id;
