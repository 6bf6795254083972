-- english_bias_by_group: one row per variant and group of languages: the mean value in the group and its mean gap to
-- English. Groups are scripts, or the resource classes of Joshi et al. 2020 (0 the fewest resources, 5 the most).
-- $by VARCHAR = 'script'
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = 'mean'
WITH groups AS (
    SELECT
        language,
        CASE $by WHEN 'script' THEN script WHEN 'resource_class' THEN resource_class::VARCHAR END AS language_group
    FROM language_resources
),
biases AS (
    SELECT
        g.base_model_id, g.label, g.sparsity, r.language_group,
        count(*) AS n_languages,
        array_to_string(list_sort(list(g.language)), ' ') AS languages,
        list_avg(list_sort(list(g.value))) AS value,
        list_avg(list_sort(list(g.dense_value))) AS dense_value,
        list_avg(list_sort(list(g.dense_value - g.value))) AS loss,
        g.english_value, g.english_dense_value, g.scoring_rule, g.example_limit, g.protocol_id, g.variant_id
    FROM language_gap AS g
    LEFT JOIN groups AS r ON r.language = g.language
    WHERE g.task = $task AND g.metric = $metric AND g.split = $split
        AND ($scoring_rule::VARCHAR IS NULL OR g.scoring_rule = $scoring_rule::VARCHAR)
    GROUP BY ALL
)
SELECT
    b.label, b.sparsity, b.language_group, b.n_languages, b.languages, b.value,
    b.english_value - b.value AS mean_gap,
    b.english_dense_value - b.dense_value AS dense_mean_gap,
    b.loss - (b.english_dense_value - b.english_value) AS mean_gap_change,
    b.scoring_rule, b.example_limit, q.protocol, b.variant_id, b.base_model_id
FROM biases AS b
LEFT JOIN protocols AS q ON q.protocol_id = b.protocol_id
ORDER BY b.base_model_id, b.sparsity, b.variant_id, b.language_group NULLS LAST;
