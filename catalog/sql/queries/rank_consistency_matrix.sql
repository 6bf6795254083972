-- rank_consistency_matrix: agreement of each pair of languages. One row per variant and pair of languages: RankC with its
-- interval and chance level, its change from dense with interval and test, and what explains it: expected is the RankC if
-- the wrong candidates were unrelated and every item kept the ranks of its right one, above_expected the agreement about
-- wrong candidates, agreement_both_wrong the share of equal answers where both are wrong. Without a variant the rows are the
-- dense model's. p_corrected corrects p_value over the n_family pairs of languages of the variant.
-- topic: english
-- $task VARCHAR = 'facts'
-- $split VARCHAR = 'test'
-- $variant_id VARCHAR = NULL
WITH pairs AS (
    SELECT
        v.base_model_id, v.is_dense, v.label, v.sparsity, r.*,
        count(r.p_value) OVER variant_pairs AS n_family,
        count(r.p_value) OVER (variant_pairs ORDER BY r.p_value, r.language, r.reference_language) AS p_rank
    FROM rank_consistency AS r
    JOIN described_variants AS v ON v.variant_id = r.variant_id
    WHERE r.profile = 'corrected' AND r.task = $task AND r.split = $split
        AND (r.variant_id = $variant_id::VARCHAR OR ($variant_id::VARCHAR IS NULL AND v.is_dense))
    WINDOW variant_pairs AS (PARTITION BY r.variant_id, r.scoring_rule, r.example_limit, r.protocol_id)
)
SELECT
    p.label, p.sparsity, p.language, p.reference_language, p.value, p.ci_low, p.ci_high, p.chance, p.corrected,
    CASE WHEN p.is_dense THEN p.value ELSE p.value - p.difference END AS dense_value, p.difference AS change,
    p.difference_ci_low AS change_low, p.difference_ci_high AS change_high, p.p_value,
    CASE WHEN p.p_value IS NOT NULL THEN max(least(1, (p.n_family - p.p_rank + 1) * p.p_value)) OVER (
        PARTITION BY p.variant_id, p.scoring_rule, p.example_limit, p.protocol_id
        ORDER BY p.p_rank ROWS UNBOUNDED PRECEDING
    ) END AS p_corrected,
    p.n_family, p.expected, p.above_expected, p.above_expected_ci_low, p.above_expected_ci_high,
    p.n_both_wrong, p.agreement_both_wrong, p.chance_both_wrong, p.n_items, p.n_skipped, p.n_clusters,
    p.scoring_rule, p.example_limit, q.protocol, p.variant_id, p.base_model_id
FROM pairs AS p
LEFT JOIN internal.protocols AS q ON q.protocol_id = p.protocol_id
ORDER BY p.base_model_id, p.variant_id, p.scoring_rule, q.protocol NULLS FIRST, p.language, p.reference_language;
