-- rank_consistency_matrix: one row per variant and ordered pair of languages: RankC, which is symmetric, and the dense
-- model's value. Without a variant the rows are the dense model's.
-- $task VARCHAR = 'facts'
-- $split VARCHAR = 'test'
-- $variant_id VARCHAR = NULL
WITH pairs AS (
    SELECT v.base_model_id, v.is_dense, v.label, v.sparsity, r.*
    FROM rank_consistency AS r
    JOIN described_variants AS v ON v.variant_id = r.variant_id
    WHERE r.profile = 'corrected' AND r.task = $task AND r.split = $split
        AND (v.is_dense OR r.variant_id = $variant_id::VARCHAR)
)
SELECT
    p.label, p.sparsity, p.language, p.reference_language, p.value,
    d.value AS dense_value, p.value - d.value AS change, p.n_items, p.n_skipped,
    p.scoring_rule, p.example_limit, q.protocol, p.variant_id, p.base_model_id
FROM pairs AS p
LEFT JOIN pairs AS d
    ON d.is_dense AND d.base_model_id = p.base_model_id
    AND d.language = p.language AND d.reference_language = p.reference_language
    AND d.scoring_rule IS NOT DISTINCT FROM p.scoring_rule AND d.example_limit IS NOT DISTINCT FROM p.example_limit
    AND d.protocol_id = p.protocol_id
LEFT JOIN protocols AS q ON q.protocol_id = p.protocol_id
WHERE p.variant_id = $variant_id::VARCHAR OR ($variant_id::VARCHAR IS NULL AND p.is_dense)
ORDER BY p.base_model_id, p.variant_id, p.scoring_rule, q.protocol NULLS FIRST, p.language, p.reference_language;
