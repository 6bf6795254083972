-- rank_consistency_to_english: agreement with English about candidates. One row per variant and language: RankC with
-- English with its interval and chance level, and its change from dense with interval and test. above_expected is the
-- agreement about the wrong candidates: beyond what the ranks of the right candidates explain, item by item.
-- p_corrected corrects p_value over the n_family rows of the base model, rule and evaluation setup. with_others is the
-- mean RankC with the other languages: bias = value - with_others is above 0 if the language agrees with English more
-- than with the others, which follows the accuracies too (see above_expected of rank_consistency_matrix); bias_change
-- is its difference from dense.
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
),
others AS (
    SELECT
        r.variant_id, r.language, r.scoring_rule, r.example_limit, r.protocol_id,
        list_avg(list_sort(list(r.value))) AS with_others,
        count(*) AS n_others
    FROM internal.rank_consistency_by_language AS r
    WHERE r.profile = 'corrected' AND r.task = $task AND r.split = $split AND r.language <> 'en'
        AND r.reference_language <> 'en'
    GROUP BY ALL
),
biases AS (
    SELECT c.*, o.with_others, o.n_others, c.value - o.with_others AS bias
    FROM consistency AS c
    LEFT JOIN others AS o
        ON o.variant_id = c.variant_id AND o.language = c.language
        AND o.scoring_rule IS NOT DISTINCT FROM c.scoring_rule AND o.example_limit IS NOT DISTINCT FROM c.example_limit
        AND o.protocol_id = c.protocol_id
)
SELECT
    c.label, c.score, c.propagation, c.sparsity, c.language, c.value, c.ci_low, c.ci_high, c.chance, c.corrected,
    CASE WHEN c.is_dense THEN c.value ELSE c.value - c.difference END AS dense_value, c.difference AS change,
    c.difference_ci_low AS change_low, c.difference_ci_high AS change_high, c.p_value,
    CASE WHEN c.p_value IS NOT NULL THEN max(least(1, (c.n_family - c.p_rank + 1) * c.p_value)) OVER (
        PARTITION BY c.base_model_id, c.scoring_rule, c.example_limit, c.protocol_id
        ORDER BY c.p_rank ROWS UNBOUNDED PRECEDING
    ) END AS p_corrected,
    c.n_family, c.above_expected, c.above_expected_ci_low, c.above_expected_ci_high,
    c.with_others, c.bias, c.bias - d.bias AS bias_change, c.n_others, c.n_items, c.n_skipped,
    c.n_clusters, c.scoring_rule, q.protocol, c.variant_id, c.base_model_id
FROM biases AS c
LEFT JOIN biases AS d
    ON d.is_dense AND d.base_model_id = c.base_model_id AND d.language = c.language
    AND d.scoring_rule IS NOT DISTINCT FROM c.scoring_rule AND d.example_limit IS NOT DISTINCT FROM c.example_limit
    AND d.protocol_id = c.protocol_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
ORDER BY c.base_model_id, c.language, c.sparsity, c.label, c.variant_id;
