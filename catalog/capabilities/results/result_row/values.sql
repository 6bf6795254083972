-- values: one row per language and way of evaluating of the method whose draws are exactly $variant_ids: its value, the
-- dense model's, and the difference. p_corrected is the largest of the draws, and pays says whether the method is
-- significantly worse in each of them, at the level $alpha of the families of the comparisons.
WITH draws AS (
    SELECT
        task, split, metric, scoring_rule, example_limit, protocol_id, group_name,
        max(p_corrected) AS p_corrected,
        max(n_family) AS n_family,
        bool_and(outcome IS NOT DISTINCT FROM 'worse' AND coalesce(p_corrected <= $alpha, false)) AS pays,
        bool_and(higher_is_better) AS higher_is_better,
        count(p_corrected) = count(*) AS is_tested,
        list_sort(list(evaluation_id)) AS evaluation_ids
    FROM internal.against_dense
    WHERE group_kind = 'language' AND list_contains($variant_ids::VARCHAR[], variant_id) AND difference IS NOT NULL
    GROUP BY ALL
)
SELECT
    m.task, m.split, m.metric, m.scoring_rule, m.example_limit, m.protocol_id, q.protocol, m.scale,
    d.higher_is_better, m.group_name AS language, m.value, m.dense_value AS dense, m.n_items AS n, m.difference, m.ci_low,
    m.ci_high, CASE WHEN d.is_tested THEN d.p_corrected END AS p_corrected,
    CASE WHEN d.is_tested THEN d.n_family END AS n_family, d.pays, d.evaluation_ids
FROM internal.method_differences AS m
JOIN draws AS d
    ON d.task = m.task
    AND d.split = m.split
    AND d.metric = m.metric
    AND d.scoring_rule IS NOT DISTINCT FROM m.scoring_rule
    AND d.example_limit IS NOT DISTINCT FROM m.example_limit
    AND d.protocol_id = m.protocol_id
    AND d.group_name = m.group_name
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
WHERE m.group_kind = 'language' AND m.variant_ids = list_sort($variant_ids::VARCHAR[])
ORDER BY m.task, m.split, m.metric, m.scoring_rule, m.example_limit, m.protocol_id, language;
