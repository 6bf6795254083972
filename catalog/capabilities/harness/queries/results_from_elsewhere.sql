-- results_from_elsewhere: imported results of other programs. One row per imported result: its value as reported, its
-- interval where the samples were imported, and next to it own_value: what `mlprune harness` measured for the same variant,
-- task, shots, limit, metric and filter. difference is value minus own_value. An import without a variant has no own_value.
-- topic: values
-- $task VARCHAR = NULL
-- $metric VARCHAR = NULL
WITH own AS (
    SELECT e.variant_id, e.task, e.n_shots, e.example_limit, r.metric, r.filter, max(r.value) AS own_value
    FROM harness_evaluations AS e
    JOIN harness_results AS r ON r.harness_id = e.harness_id
    GROUP BY ALL
    HAVING min(r.value) = max(r.value)
)
SELECT
    x.model, v.label, x.task, r.metric, r.filter, r.value, r.ci_low, r.ci_high, r.stderr, r.n, x.n_documents,
    o.own_value, r.value - o.own_value AS difference, x.n_shots, x.example_limit, x.tool, x.tool_version,
    x.evaluated_at, x.source_file, x.variant_id, x.external_id
FROM external_results AS r
JOIN external_evaluations AS x ON x.external_id = r.external_id
LEFT JOIN described_variants AS v ON v.variant_id = x.variant_id
LEFT JOIN own AS o
    ON o.variant_id = x.variant_id AND o.task = x.task AND o.metric = r.metric AND o.filter = r.filter
    AND o.n_shots IS NOT DISTINCT FROM x.n_shots AND o.example_limit IS NOT DISTINCT FROM x.example_limit
WHERE ($task::VARCHAR IS NULL OR x.task = $task::VARCHAR) AND ($metric::VARCHAR IS NULL OR r.metric = $metric::VARCHAR)
ORDER BY x.task, r.metric, r.filter, x.model, v.label, x.evaluated_at, x.external_id;
