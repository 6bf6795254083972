-- category_answers: one row per language and category of items, such as a relation or a genre, for a variant and the
-- dense model: the number of right answers, and how many of them the variant gained and lost. cluster_sizes and
-- cluster_rights are the items and the right ones of each cluster; NULL if every item is a cluster of its own.
-- $task VARCHAR
-- $split VARCHAR
-- $variant_id VARCHAR
-- title: Accuracy by category of items
-- anchor: categories
-- runs: example_variants
-- explanation: One panel per language with a row per category, such as a relation or a genre, and its number of items.
-- An item with several categories, such as a subject and a label of cultural sensitivity, counts in each.
-- Grey is the dense model, blue the variant of the heading: the pruned variant that is best on dev outside English,
-- then the one of the same method with the largest sparsity. Lines are Wilson's 95 % intervals of one category, without
-- correction for their number. On the right: items gained and lost.
-- empty: The store has no pruned variant whose items have categories. Task facts has relations; a task template names
-- them with the key category.
WITH pairs AS (
    SELECT a.* REPLACE (unnest(string_split(a.category, chr(10))) AS category), d.is_right AS dense_is_right
    FROM item_answers($task, of_split := $split, of_variant := $variant_id) AS a
    JOIN item_answers($task, of_split := $split, of_variant := 'dense') AS d
        ON d.base_model_id = a.base_model_id AND d.language = a.language AND d.example_id = a.example_id
        AND d.scoring_rule = a.scoring_rule AND d.protocol_id = a.protocol_id
    WHERE a.category <> ''
),
clusters AS (
    SELECT
        base_model_id, variant_id, task, split, scoring_rule, protocol_id, language, category, cluster,
        count(*) AS n_items,
        count(*) FILTER (is_right) AS n_right,
        count(*) FILTER (dense_is_right) AS n_dense_right,
        count(*) FILTER (is_right AND NOT dense_is_right) AS n_gained,
        count(*) FILTER (dense_is_right AND NOT is_right) AS n_lost
    FROM pairs
    GROUP BY ALL
)
SELECT
    m.source AS base_model, c.base_model_id, c.task, c.split, concat_ws(', ', c.scoring_rule, q.protocol) AS scoring_rule,
    v.label, coalesce(v.score, v.combination) AS score, v.intervention, v.demonstration_label, v.sparsity,
    c.language, c.category,
    sum(c.n_items)::BIGINT AS n,
    count(*) AS n_clusters,
    sum(c.n_right)::BIGINT AS n_right,
    sum(c.n_dense_right)::BIGINT AS n_dense_right,
    sum(c.n_gained)::BIGINT AS n_gained,
    sum(c.n_lost)::BIGINT AS n_lost,
    CASE WHEN max(c.n_items) > 1 THEN list(c.n_items ORDER BY c.cluster) END AS cluster_sizes,
    CASE WHEN max(c.n_items) > 1 THEN list(c.n_right ORDER BY c.cluster) END AS cluster_rights,
    CASE WHEN max(c.n_items) > 1 THEN list(c.n_dense_right ORDER BY c.cluster) END AS dense_cluster_rights
FROM clusters AS c
JOIN base_models AS m ON m.base_model_id = c.base_model_id
JOIN internal.variant_descriptions AS v ON v.variant_id = c.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
GROUP BY ALL
ORDER BY base_model, c.base_model_id, scoring_rule, c.language, n DESC, c.category;
