-- english_bias_by_group: one row per variant and group of languages: the mean value in the group and its mean gap to
-- English. Groups are scripts, or the resource classes of Joshi et al. 2020 (0 the least served, 5 the best).
-- $by VARCHAR = 'script'
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = 'mean'
WITH of_task AS (
    SELECT * FROM measured
    WHERE task = $task AND metric = $metric AND split = $split
        AND ($scoring_rule::VARCHAR IS NULL OR scoring_rule = $scoring_rule::VARCHAR)
),
groups AS (
    SELECT
        language,
        CASE $by WHEN 'script' THEN script WHEN 'resource_class' THEN resource_class::VARCHAR END AS language_group
    FROM language_resources
),
others AS (
    SELECT
        m.variant_id, g.language_group, m.scoring_rule, m.example_limit, m.setup,
        count(*) AS n_languages,
        array_to_string(list_sort(list(m.language)), ' ') AS languages,
        list_avg(list_sort(list(m.value))) AS value,
        list_avg(list_sort(list(m.dense_value))) AS dense_value,
        list_avg(list_sort(list(m.dense_value - m.value))) AS loss
    FROM of_task AS m
    LEFT JOIN groups AS g ON g.language = m.language
    WHERE m.language <> 'en'
    GROUP BY ALL
)
SELECT
    e.base_model_id, e.variant_name, e.sparsity, o.language_group, o.n_languages, o.languages, o.value,
    e.value - o.value AS mean_gap,
    e.dense_value - o.dense_value AS dense_mean_gap,
    o.loss - (e.dense_value - e.value) AS mean_gap_change,
    e.scoring_rule, e.example_limit, e.setup, e.variant_id
FROM others AS o
JOIN of_task AS e
    ON e.language = 'en'
    AND e.variant_id = o.variant_id
    AND e.scoring_rule IS NOT DISTINCT FROM o.scoring_rule
    AND e.example_limit IS NOT DISTINCT FROM o.example_limit
    AND e.setup IS NOT DISTINCT FROM o.setup
ORDER BY e.base_model_id, e.sparsity, e.variant_id, o.language_group NULLS LAST;
