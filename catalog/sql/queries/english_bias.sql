-- english_bias: one row per variant: the gap between English and its other languages, on average and at worst, and the
-- change of the gap from dense (below 0: smaller). The ratio is the mean of the other languages divided by English.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = 'mean'
WITH biases AS (
    SELECT
        g.base_model_id, g.label, g.sparsity,
        count(*) AS n_languages,
        g.english_value, g.english_dense_value,
        list_avg(list_sort(list(g.value))) AS others_value,
        list_avg(list_sort(list(g.dense_value - g.value))) AS loss,
        min(g.value) AS worst_value,
        arg_max(g.language, (-g.value, g.language)) AS worst_language,
        g.scoring_rule, g.example_limit, g.protocol_id, g.variant_id
    FROM language_gap AS g
    WHERE g.task = $task AND g.metric = $metric AND g.split = $split
        AND ($scoring_rule::VARCHAR IS NULL OR g.scoring_rule = $scoring_rule::VARCHAR)
    GROUP BY ALL
)
SELECT
    b.label, b.sparsity, b.n_languages, b.english_value, b.others_value,
    b.others_value / nullif(b.english_value, 0) AS ratio_to_english,
    b.english_value - b.others_value AS mean_gap,
    b.loss - (b.english_dense_value - b.english_value) AS mean_gap_change,
    b.english_value - b.worst_value AS largest_gap,
    b.worst_language, b.worst_value, b.scoring_rule, b.example_limit, q.protocol, b.variant_id, b.base_model_id
FROM biases AS b
LEFT JOIN protocols AS q ON q.protocol_id = b.protocol_id
ORDER BY b.base_model_id, b.sparsity, mean_gap, b.variant_id;
