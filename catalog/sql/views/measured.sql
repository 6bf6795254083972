-- measured: values of metrics, with those of dense. One row per metric of profile corrected, with the way it was evaluated,
-- the variant's sparsity, and the dense model's value. Evaluations that a larger or later one replaces are left out.
CREATE OR REPLACE VIEW measured AS
WITH dense AS (
    SELECT d.*
    FROM internal.dense_values AS d
    LEFT JOIN internal.outdone_evaluations AS o ON o.evaluation_id = d.evaluation_id
    QUALIFY row_number() OVER (
        PARTITION BY
            d.base_model_id, d.task, d.language, d.split, d.metric, d.scoring_rule, d.example_limit, d.protocol_id
        ORDER BY o.evaluation_id IS NOT NULL, d.evaluation_id
    ) = 1
)
SELECT
    m.evaluation_id, m.variant_id, v.base_model_id, v.label, v.method, v.is_dense, v.sparsity,
    m.task, m.language, m.split, m.metric, m.higher_is_better, m.value, m.ci_low, m.ci_high, m.n,
    m.scoring_rule, m.example_limit, m.prompt_language, m.protocol_id,
    d.value AS dense_value
FROM metrics AS m
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
JOIN internal.variant_descriptions AS v ON v.variant_id = m.variant_id
LEFT JOIN dense AS d
    ON d.base_model_id = v.base_model_id
    AND d.task = m.task
    AND d.language = m.language
    AND d.split = m.split
    AND d.metric = m.metric
    AND d.scoring_rule IS NOT DISTINCT FROM m.scoring_rule
    AND d.example_limit IS NOT DISTINCT FROM m.example_limit
    AND d.protocol_id = m.protocol_id
WHERE m.profile = 'corrected';
-- dense_value: value of the dense model of the same base model, evaluated in the same way; NULL if there is none
