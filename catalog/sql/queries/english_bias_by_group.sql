-- english_bias_by_group: one row per variant and group of languages: the mean value in the group and its mean gap to
-- English. Groups are scripts, or the resource classes of Joshi et al. 2020 (0 the least served, 5 the best).
-- $by VARCHAR = 'script'
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = 'mean'
SELECT
    g.base_model_id, g.variant_name, g.sparsity,
    CASE $by WHEN 'script' THEN r.script WHEN 'resource_class' THEN r.resource_class::VARCHAR END AS language_group,
    count(*) AS n_languages,
    string_agg(g.language, ' ' ORDER BY g.language) AS languages,
    avg(g.value ORDER BY g.language) AS value,
    avg(g.gap ORDER BY g.language) AS mean_gap,
    avg(g.dense_gap ORDER BY g.language) AS dense_mean_gap,
    avg(g.gap_change ORDER BY g.language) AS mean_gap_change,
    g.scoring_rule, g.example_limit, g.setup, g.variant_id
FROM language_gap AS g
LEFT JOIN language_resources AS r ON r.language = g.language
WHERE g.task = $task AND g.metric = $metric AND g.split = $split
    AND ($scoring_rule::VARCHAR IS NULL OR g.scoring_rule = $scoring_rule::VARCHAR)
GROUP BY
    g.base_model_id, g.variant_name, g.sparsity, language_group, g.scoring_rule, g.example_limit, g.setup, g.variant_id
ORDER BY g.base_model_id, g.sparsity, g.variant_id, language_group NULLS LAST;
