-- english_bias: the gap of others to English, and its change. One row per variant and group of languages: the mean
-- of the group minus English, that of the worst language (below 0: English is ahead), and the change from dense. The change
-- is split: minus_english_change = others_change - english_change, because a gap also becomes smaller where English loses.
-- The ratio is the mean of the group divided by English. p_value and p_corrected test others_change. The group has all other
-- languages; with by = script those of one script, and with by = resource_class those of one class of Joshi et al. 2020
-- (0 the fewest resources, 5 the most).
-- topic: english
-- first: label, minus_english, minus_english_change, english_change, others_change
-- $by VARCHAR = 'outside_english'
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = 'mean'
WITH to_dense AS (
    SELECT *
    FROM internal.against_dense
    WHERE task = $task AND metric = $metric AND split = $split AND scale = 'difference'
),
grouped AS (
    SELECT g.*, coalesce(t.group_name, '') AS group_name
    FROM internal.language_gap AS g
    LEFT JOIN to_dense AS t
        ON $by <> 'outside_english' AND t.group_kind = $by AND t.variant_id = g.variant_id
        AND list_contains(string_split(t.languages, ' '), g.language)
        AND t.scoring_rule = g.scoring_rule AND t.protocol_id = g.protocol_id
        AND t.example_limit IS NOT DISTINCT FROM g.example_limit
    WHERE g.task = $task AND g.metric = $metric AND g.split = $split
        AND ($scoring_rule::VARCHAR IS NULL OR g.scoring_rule = $scoring_rule::VARCHAR)
        AND ($by = 'outside_english' OR t.group_name IS NOT NULL)
),
biases AS (
    SELECT
        g.base_model_id, g.label, g.sparsity, g.group_name,
        count(*) AS n_languages,
        string_agg(g.language, ' ' ORDER BY g.language) AS languages,
        g.english_value, g.english_dense_value,
        any_value(g.english_change_ci_low) AS english_change_ci_low,
        any_value(g.english_change_ci_high) AS english_change_ci_high,
        list_avg(list_sort(list(g.value))) AS others_value,
        list_avg(list_sort(list(g.dense_value - g.value))) AS loss,
        min(g.value) AS worst_value,
        arg_max(g.language, (-g.value, g.language)) AS worst_language,
        g.task, g.metric, g.split, g.scoring_rule, g.example_limit, g.protocol_id, g.variant_id
    FROM grouped AS g
    GROUP BY ALL
)
SELECT
    b.label, b.sparsity, coalesce(nullif(b.group_name, ''), $by) AS language_group, b.n_languages, b.languages,
    b.english_value, b.others_value,
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
    o.p_value, o.p_corrected, o.n_family, o.detectable_difference,
    b.worst_value - b.english_value AS worst_minus_english,
    b.worst_language, b.worst_value, b.scoring_rule, b.example_limit, q.protocol, b.variant_id, b.base_model_id
FROM biases AS b
LEFT JOIN internal.protocols AS q ON q.protocol_id = b.protocol_id
LEFT JOIN to_dense AS o
    ON o.variant_id = b.variant_id AND o.group_kind = $by AND o.group_name = b.group_name AND o.n_languages = b.n_languages
    AND o.scoring_rule = b.scoring_rule AND o.protocol_id = b.protocol_id
    AND o.example_limit IS NOT DISTINCT FROM b.example_limit
LEFT JOIN to_dense AS g
    ON $by = 'outside_english' AND g.variant_id = b.variant_id AND g.group_kind = 'gap' AND g.group_name = ''
    AND g.n_languages = b.n_languages + 1
    AND g.scoring_rule = b.scoring_rule AND g.protocol_id = b.protocol_id
    AND g.example_limit IS NOT DISTINCT FROM b.example_limit
ORDER BY b.base_model_id, b.sparsity, language_group, minus_english DESC, b.variant_id;
