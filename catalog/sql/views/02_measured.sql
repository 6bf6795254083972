-- measured: one row per metric, with how it was evaluated, the variant's place in a sweep, and the dense model's value.
CREATE OR REPLACE VIEW measured AS
WITH joined AS (
    SELECT
        m.evaluation_id, m.variant_id, v.base_model_id, v.variant_name, v.is_dense, v.sparsity,
        m.task, m.language, m.split, m.metric, m.value, m.ci_low, m.ci_high, m.n,
        e.scoring_rule, e.example_limit, e.prompt_language, e.setup
    FROM metrics AS m
    JOIN evaluations AS e ON e.evaluation_id = m.evaluation_id
    JOIN described_variants AS v ON v.variant_id = m.variant_id
)
SELECT j.*, d.value AS dense_value
FROM joined AS j
LEFT JOIN joined AS d
    ON d.is_dense
    AND d.base_model_id = j.base_model_id
    AND d.task = j.task
    AND d.language = j.language
    AND d.split = j.split
    AND d.metric = j.metric
    AND d.scoring_rule IS NOT DISTINCT FROM j.scoring_rule
    AND d.example_limit IS NOT DISTINCT FROM j.example_limit
    AND d.setup IS NOT DISTINCT FROM j.setup;
