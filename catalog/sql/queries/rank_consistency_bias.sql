-- rank_consistency_bias: one row per variant and language: RankC with English and the mean RankC with the other
-- languages. RankC is symmetric; bias above 0 means that the language agrees with English more than with the others.
-- bias_change is the difference from dense. chance is the RankC of unrelated rankings, and english_low to english_high
-- the interval of with_english. The bias follows the accuracies too: compare above_expected of rank_consistency_matrix.
-- topic: english
-- $task VARCHAR = 'facts'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = 'mean'
WITH averages AS (
    SELECT
        r.variant_id, r.language, r.scoring_rule, r.example_limit, r.protocol_id,
        max(r.value) FILTER (WHERE r.reference_language = 'en') AS with_english,
        max(r.ci_low) FILTER (WHERE r.reference_language = 'en') AS english_low,
        max(r.ci_high) FILTER (WHERE r.reference_language = 'en') AS english_high,
        max(r.chance) FILTER (WHERE r.reference_language = 'en') AS chance,
        list_avg(list_sort(list(r.value) FILTER (WHERE r.reference_language <> 'en'))) AS with_others,
        count(*) FILTER (WHERE r.reference_language <> 'en') AS n_others
    FROM internal.rank_consistency_by_language AS r
    WHERE r.profile = 'corrected' AND r.task = $task AND r.split = $split AND r.language <> 'en'
        AND ($scoring_rule::VARCHAR IS NULL OR r.scoring_rule IS NULL OR r.scoring_rule = $scoring_rule::VARCHAR)
    GROUP BY ALL
    HAVING with_english IS NOT NULL AND with_others IS NOT NULL
),
leaning AS (
    SELECT v.base_model_id, v.is_dense, v.label, v.sparsity, a.*
    FROM averages AS a
    JOIN described_variants AS v ON v.variant_id = a.variant_id
)
SELECT
    l.label, l.sparsity, l.language, l.with_english, l.english_low, l.english_high, l.chance, l.with_others,
    l.with_english - l.with_others AS bias,
    (l.with_english - l.with_others) - (d.with_english - d.with_others) AS bias_change,
    l.n_others, l.scoring_rule, l.example_limit, q.protocol, l.variant_id, l.base_model_id
FROM leaning AS l
LEFT JOIN leaning AS d
    ON d.is_dense AND d.base_model_id = l.base_model_id AND d.language = l.language
    AND d.scoring_rule IS NOT DISTINCT FROM l.scoring_rule AND d.example_limit IS NOT DISTINCT FROM l.example_limit
    AND d.protocol_id = l.protocol_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = l.protocol_id
ORDER BY l.base_model_id, l.language, l.sparsity, l.variant_id;
