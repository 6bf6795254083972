-- english_bias: one row per variant: its other languages minus English, on average and at worst (below 0: English is ahead),
-- and the change from dense. The change is split: minus_english_change = others_change - english_change, because a gap
-- also becomes smaller where English loses. The ratio is the mean of the other languages divided by English.
-- topic: english
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = 'mean'
WITH biases AS (
    SELECT
        g.base_model_id, g.label, g.sparsity,
        count(*) AS n_languages,
        g.english_value, g.english_dense_value,
        any_value(g.english_change_ci_low) AS english_change_ci_low,
        any_value(g.english_change_ci_high) AS english_change_ci_high,
        list_avg(list_sort(list(g.value))) AS others_value,
        list_avg(list_sort(list(g.dense_value - g.value))) AS loss,
        min(g.value) AS worst_value,
        arg_max(g.language, (-g.value, g.language)) AS worst_language,
        g.task, g.metric, g.split, g.scoring_rule, g.example_limit, g.protocol_id, g.variant_id
    FROM internal.language_gap AS g
    WHERE g.task = $task AND g.metric = $metric AND g.split = $split
        AND ($scoring_rule::VARCHAR IS NULL OR g.scoring_rule = $scoring_rule::VARCHAR)
    GROUP BY ALL
),
to_dense AS (
    SELECT a.*
    FROM internal.aggregates AS a
    JOIN variants AS v ON v.variant_id = a.variant_id
    JOIN internal.variant_descriptions AS b
        ON b.variant_id = a.baseline_id AND b.is_dense AND b.base_model_id = v.base_model_id
    WHERE a.task = $task AND a.metric = $metric AND a.split = $split AND a.scale = 'difference'
)
SELECT
    b.label, b.sparsity, b.n_languages, b.english_value, b.others_value,
    b.others_value / nullif(b.english_value, 0) AS ratio_to_english,
    b.others_value - b.english_value AS minus_english,
    (b.english_dense_value - b.english_value) - b.loss AS minus_english_change,
    g.ci_low AS minus_english_change_ci_low,
    g.ci_high AS minus_english_change_ci_high,
    b.english_value - b.english_dense_value AS english_change,
    b.english_change_ci_low, b.english_change_ci_high,
    -b.loss AS others_change,
    o.ci_low AS others_change_ci_low,
    o.ci_high AS others_change_ci_high,
    b.worst_value - b.english_value AS worst_minus_english,
    b.worst_language, b.worst_value, b.scoring_rule, b.example_limit, q.protocol, b.variant_id, b.base_model_id
FROM biases AS b
LEFT JOIN internal.protocols AS q ON q.protocol_id = b.protocol_id
LEFT JOIN to_dense AS o
    ON o.variant_id = b.variant_id AND o.group_kind = 'outside_english' AND o.n_languages = b.n_languages
    AND o.scoring_rule = b.scoring_rule AND o.protocol_id = b.protocol_id
    AND o.example_limit IS NOT DISTINCT FROM b.example_limit
LEFT JOIN to_dense AS g
    ON g.variant_id = b.variant_id AND g.group_kind = 'gap' AND g.group_name = ''
    AND g.n_languages = b.n_languages + 1
    AND g.scoring_rule = b.scoring_rule AND g.protocol_id = b.protocol_id
    AND g.example_limit IS NOT DISTINCT FROM b.example_limit
ORDER BY b.base_model_id, b.sparsity, minus_english DESC, b.variant_id;
