-- rank_consistency_to_english: one row per variant and language: RankC with English, and its change from dense.
-- $task VARCHAR = 'facts'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = 'mean'
WITH consistency AS NOT MATERIALIZED (
    SELECT r.*, v.base_model_id, v.is_dense, v.label, v.score, v.propagation, v.sparsity
    FROM rank_consistency AS r
    JOIN described_variants AS v ON v.variant_id = r.variant_id
    WHERE ($scoring_rule::VARCHAR IS NULL OR r.scoring_rule IS NULL OR r.scoring_rule = $scoring_rule::VARCHAR)
        AND r.profile = 'corrected' AND r.reference_language = 'en' AND r.task = $task AND r.split = $split
)
SELECT
    c.label, c.score, c.propagation, c.sparsity, c.language, c.value,
    d.value AS dense_value, c.value - d.value AS change, c.n_items, c.n_skipped, c.scoring_rule, q.protocol, c.variant_id,
    c.base_model_id
FROM consistency AS c
LEFT JOIN consistency AS d ON d.is_dense AND d.base_model_id = c.base_model_id AND d.language = c.language
    AND d.scoring_rule IS NOT DISTINCT FROM c.scoring_rule AND d.example_limit IS NOT DISTINCT FROM c.example_limit
    AND d.protocol_id = c.protocol_id
LEFT JOIN protocols AS q ON q.protocol_id = c.protocol_id
ORDER BY c.base_model_id, c.language, c.sparsity, c.label, c.variant_id;
