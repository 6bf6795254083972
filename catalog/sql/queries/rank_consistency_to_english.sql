-- rank_consistency_to_english: one row per variant and language: RankC with English with its interval and chance level,
-- and its change from dense with interval and test. above_expected is the agreement about the wrong candidates: beyond what
-- the ranks of the right candidates explain, item by item. p_corrected corrects p_value over the n_family rows of the base
-- model, rule and protocol.
-- topic: english
-- first: label, language, value, p_corrected, change
-- $task VARCHAR = 'facts'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = 'mean'
WITH consistency AS (
    SELECT
        r.*, v.base_model_id, v.is_dense, v.label, v.score, v.propagation, v.sparsity,
        count(r.p_value) OVER family AS n_family,
        count(r.p_value) OVER (family ORDER BY r.p_value, r.variant_id, r.language) AS p_rank
    FROM rank_consistency AS r
    JOIN described_variants AS v ON v.variant_id = r.variant_id
    WHERE ($scoring_rule::VARCHAR IS NULL OR r.scoring_rule IS NULL OR r.scoring_rule = $scoring_rule::VARCHAR)
        AND r.profile = 'corrected' AND r.reference_language = 'en' AND r.task = $task AND r.split = $split
    WINDOW family AS (PARTITION BY v.base_model_id, r.scoring_rule, r.example_limit, r.protocol_id)
)
SELECT
    c.label, c.score, c.propagation, c.sparsity, c.language, c.value, c.ci_low, c.ci_high, c.chance, c.corrected,
    CASE WHEN c.is_dense THEN c.value ELSE c.value - c.difference END AS dense_value, c.difference AS change,
    c.difference_ci_low AS change_low, c.difference_ci_high AS change_high, c.p_value,
    CASE WHEN c.p_value IS NOT NULL THEN max(least(1, (c.n_family - c.p_rank + 1) * c.p_value)) OVER (
        PARTITION BY c.base_model_id, c.scoring_rule, c.example_limit, c.protocol_id
        ORDER BY c.p_rank ROWS UNBOUNDED PRECEDING
    ) END AS p_corrected,
    c.n_family, c.above_expected, c.above_expected_ci_low, c.above_expected_ci_high, c.n_items, c.n_skipped,
    c.n_clusters, c.scoring_rule, q.protocol, c.variant_id, c.base_model_id
FROM consistency AS c
LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
ORDER BY c.base_model_id, c.language, c.sparsity, c.label, c.variant_id;
