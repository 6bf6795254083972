-- english_bias: one row per variant: how far its languages are behind English, on average and at worst, and by how much
-- that moved from dense (below 0: closer). The ratio is the mean of the other languages over English.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = 'mean'
SELECT
    g.base_model_id, g.variant_name, g.sparsity,
    count(*) AS n_languages,
    any_value(g.english_value) AS english_value,
    avg(g.value ORDER BY g.language) AS others_value,
    avg(g.value ORDER BY g.language) / nullif(any_value(g.english_value), 0) AS ratio_to_english,
    avg(g.gap ORDER BY g.language) AS mean_gap,
    avg(g.gap_change ORDER BY g.language) AS mean_gap_change,
    max(g.gap) AS largest_gap,
    arg_max(g.language, (g.gap, g.language)) AS worst_language,
    min(g.value) AS worst_value,
    g.scoring_rule, g.example_limit, g.setup, g.variant_id
FROM language_gap AS g
WHERE g.task = $task AND g.metric = $metric AND g.split = $split
    AND ($scoring_rule::VARCHAR IS NULL OR g.scoring_rule = $scoring_rule::VARCHAR)
GROUP BY g.base_model_id, g.variant_name, g.sparsity, g.scoring_rule, g.example_limit, g.setup, g.variant_id
ORDER BY g.base_model_id, g.sparsity, mean_gap, g.variant_id;
