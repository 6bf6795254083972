-- accuracy_by_category: accuracy by kind of item, with gains and losses. One row per language and category of items, such as
-- a relation or a genre: the share of a variant's right answers, with its Wilson interval, and how many the variant gained
-- and lost in comparison with the dense model. An item with several categories, such as a group of subjects and a label of
-- cultural sensitivity, counts in each. The interval is that of independent items, as in facts, where a territory has
-- one item of a category. It is NULL if some items of the category share a cluster (n_clusters below n): it would be too
-- narrow, and that of clustered items, which the report shows by category, needs quantiles that SQL does not have. Without a
-- variant, the rows are those of the dense model.
-- topic: values
-- $task VARCHAR = 'facts'
-- $split VARCHAR = 'test'
-- $language VARCHAR = NULL
-- $variant_id VARCHAR = 'dense'
WITH categorised AS (
    SELECT * REPLACE (unnest(string_split(category, chr(10))) AS category)
    FROM item_answers($task, of_split := $split, of_language := $language, of_variant := $variant_id)
)
SELECT
    a.label, a.language, a.category,
    count(*) AS n,
    count(DISTINCT a.cluster) AS n_clusters,
    avg(a.is_right::INTEGER) AS accuracy,
    CASE WHEN n_clusters = n THEN (accuracy + 3.8415 / (2 * n)) / (1 + 3.8415 / n)
        - 1.96 * sqrt(accuracy * (1 - accuracy) / n + 3.8415 / (4 * n * n)) / (1 + 3.8415 / n) END AS ci_low,
    CASE WHEN n_clusters = n THEN (accuracy + 3.8415 / (2 * n)) / (1 + 3.8415 / n)
        + 1.96 * sqrt(accuracy * (1 - accuracy) / n + 3.8415 / (4 * n * n)) / (1 + 3.8415 / n) END AS ci_high,
    avg(d.is_right::INTEGER) AS dense_accuracy,
    count(*) FILTER (a.is_right AND NOT d.is_right) AS n_gained,
    count(*) FILTER (d.is_right AND NOT a.is_right) AS n_lost,
    a.scoring_rule, q.protocol, a.variant_id, a.evaluation_id, a.base_model_id
FROM categorised AS a
LEFT JOIN item_answers($task, of_split := $split, of_language := $language, of_variant := 'dense') AS d
    ON d.base_model_id = a.base_model_id AND d.language = a.language AND d.example_id = a.example_id
    AND d.scoring_rule = a.scoring_rule AND d.protocol_id = a.protocol_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = a.protocol_id
GROUP BY ALL
ORDER BY a.base_model_id, a.label, a.variant_id, a.scoring_rule, q.protocol NULLS FIRST, a.language, a.category;
