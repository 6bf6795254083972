-- english_bias: one row per variant: how far its languages are behind English, on average and at worst, and by how much
-- that moved from dense (below 0: closer). The ratio is the mean of the other languages over English.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = 'mean'
WITH of_task AS (
    SELECT * FROM measured
    WHERE task = $task AND metric = $metric AND split = $split
        AND ($scoring_rule::VARCHAR IS NULL OR scoring_rule = $scoring_rule::VARCHAR)
),
others AS (
    SELECT
        variant_id, scoring_rule, example_limit, setup,
        count(*) AS n_languages,
        list_avg(list_sort(list(value))) AS value,
        list_avg(list_sort(list(dense_value - value))) AS loss,
        min(value) AS worst_value,
        arg_max(language, (-value, language)) AS worst_language
    FROM of_task
    WHERE language <> 'en'
    GROUP BY ALL
)
SELECT
    e.base_model_id, e.variant_name, e.sparsity,
    o.n_languages,
    e.value AS english_value,
    o.value AS others_value,
    o.value / nullif(e.value, 0) AS ratio_to_english,
    e.value - o.value AS mean_gap,
    o.loss - (e.dense_value - e.value) AS mean_gap_change,
    e.value - o.worst_value AS largest_gap,
    o.worst_language,
    o.worst_value,
    e.scoring_rule, e.example_limit, e.setup, e.variant_id
FROM others AS o
JOIN of_task AS e
    ON e.language = 'en'
    AND e.variant_id = o.variant_id
    AND e.scoring_rule IS NOT DISTINCT FROM o.scoring_rule
    AND e.example_limit IS NOT DISTINCT FROM o.example_limit
    AND e.setup IS NOT DISTINCT FROM o.setup
ORDER BY e.base_model_id, e.sparsity, mean_gap, e.variant_id;
