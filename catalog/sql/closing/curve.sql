-- curve: one row per method and sparsity of some variants: the mean over the languages other than English and the
-- value in English on test, with their differences from dense. The task and metric are those of a declared question of the recipe,
-- else accuracy of the first task. is_changed and english_is_changed say whether a difference is significant: p_corrected is
-- below 5 %, of several seeds that of each variant, all in the same direction.
-- $recipe VARCHAR
-- $variants VARCHAR[]
WITH changes AS (
    SELECT
        m.variant_ids, t.task, t.split, t.metric, t.scoring_rule, t.example_limit, t.protocol_id, t.group_kind, t.group_name,
        bool_and(coalesce(t.p_corrected < 0.05, false)) AND count(DISTINCT sign(t.difference)) = 1 AS is_changed
    FROM (SELECT DISTINCT variant_ids, unnest(variant_ids) AS variant_id FROM internal.method_differences) AS m
    JOIN internal.against_dense AS t ON t.variant_id = m.variant_id
    GROUP BY ALL
),
own AS (
    SELECT
        d.*,
        coalesce(t.is_changed, false) AS is_changed,
        EXISTS (
            FROM questions AS q
            WHERE q.recipe = $recipe AND q.is_declared AND q.task = d.task AND q.metric = d.metric
        ) AS is_asked
    FROM internal.method_differences AS d
    LEFT JOIN changes AS t
        ON t.variant_ids = d.variant_ids AND t.task = d.task AND t.split = d.split AND t.metric = d.metric
        AND t.group_kind = d.group_kind AND t.group_name = d.group_name AND t.protocol_id = d.protocol_id
        AND t.scoring_rule IS NOT DISTINCT FROM d.scoring_rule AND t.example_limit IS NOT DISTINCT FROM d.example_limit
    WHERE d.metric IN ('accuracy', 'chrf') AND d.split = 'test' AND d.sparsity > 0
        AND list_has_any(d.variant_ids, $variants)
)
SELECT
    o.task, o.metric, o.method, o.score, o.sparsity, o.value, o.dense_value, o.difference, o.is_changed, o.n_variants,
    e.value AS english_value, e.dense_value AS english_dense_value, e.difference AS english_difference,
    coalesce(e.is_changed, false) AS english_is_changed
FROM own AS o
LEFT JOIN own AS e
    ON e.group_kind = 'language' AND e.group_name = 'en' AND e.variant_ids = o.variant_ids AND e.task = o.task
    AND e.metric = o.metric AND e.protocol_id = o.protocol_id
    AND e.scoring_rule IS NOT DISTINCT FROM o.scoring_rule AND e.example_limit IS NOT DISTINCT FROM o.example_limit
WHERE o.group_kind = 'outside_english'
QUALIFY dense_rank() OVER (
    ORDER BY
        NOT o.is_asked, o.metric, o.task, o.base_model_id, o.scoring_rule, o.protocol_id, o.example_limit DESC NULLS FIRST
) = 1
ORDER BY o.method, o.method_id, o.sparsity, o.variant_ids;
