-- english_bias_by_group: one row per variant and group of languages: the mean value in the group, its paired difference
-- from dense with interval and test, and its gap to English. Groups are scripts, or the resource classes of Joshi et al.
-- 2020 (0 the fewest resources, 5 the most); English is in none. minus_english is the value minus that of English, and
-- minus_english_change = difference - english_difference: a gap also becomes smaller where English loses.
-- $by VARCHAR = 'script'
-- topic: english
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = 'mean'
WITH english AS (
    SELECT *
    FROM internal.against_dense
    WHERE task = $task AND metric = $metric AND split = $split AND language = 'en' AND scale = 'difference'
)
SELECT
    v.label, v.sparsity, a.group_name AS language_group, a.n_languages, a.languages, a.value,
    a.difference, a.ci_low, a.ci_high, a.p_value, a.p_corrected, a.n_family, a.detectable_difference, a.n_items, a.n_clusters,
    a.value - e.value AS minus_english,
    a.baseline_value - e.dense_value AS dense_minus_english,
    a.difference - e.difference AS minus_english_change,
    e.difference AS english_difference, e.ci_low AS english_ci_low, e.ci_high AS english_ci_high,
    a.conditional_on_one_draw, a.scale, a.scoring_rule, a.example_limit, q.protocol, a.variant_id, v.base_model_id
FROM internal.aggregates AS a
JOIN described_variants AS v ON v.variant_id = a.variant_id
JOIN described_variants AS d
    ON d.variant_id = a.baseline_id AND d.is_dense AND d.base_model_id = v.base_model_id
LEFT JOIN english AS e
    ON e.variant_id = a.variant_id AND e.baseline_id = a.baseline_id AND e.protocol_id = a.protocol_id
    AND e.scoring_rule IS NOT DISTINCT FROM a.scoring_rule AND e.example_limit IS NOT DISTINCT FROM a.example_limit
LEFT JOIN internal.protocols AS q ON q.protocol_id = a.protocol_id
WHERE a.profile = 'corrected' AND a.task = $task AND a.metric = $metric AND a.split = $split AND a.group_kind = $by
    AND ($scoring_rule::VARCHAR IS NULL OR a.scoring_rule = $scoring_rule::VARCHAR)
ORDER BY
    v.base_model_id, v.sparsity, a.variant_id, a.group_name, a.scoring_rule, q.protocol NULLS FIRST, a.example_limit;
