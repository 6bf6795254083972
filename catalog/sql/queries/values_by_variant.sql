-- values_by_variant: one row per base model, variant and language: a metric as it was measured, of one rule and setup.
-- Where there are evaluations of several sizes the largest counts.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = NULL
-- $setup VARCHAR = NULL
SELECT
    base_model_id, variant_id, variant_name, sparsity, is_dense, task, language, split, metric, value, ci_low, ci_high,
    n, scoring_rule, setup, evaluation_id
FROM measured
WHERE task = $task AND metric = $metric AND split = $split
    AND CASE
        WHEN $scoring_rule::VARCHAR IS NOT NULL THEN scoring_rule = $scoring_rule::VARCHAR
        ELSE scoring_rule = 'mean' OR task IN ('translation', 'perplexity')
    END
    AND setup IS NOT DISTINCT FROM $setup::VARCHAR
QUALIFY row_number() OVER (PARTITION BY variant_id, language ORDER BY n DESC, evaluation_id) = 1
ORDER BY base_model_id, sparsity, variant_id, language;
