-- removal_curve: what each language loses as units are removed. One row per search by one_by_one, round, task, metric and
-- language, on the split of the search: the value of the trial that the round kept. n_removed counts the units that it
-- lacks, and unit is the last one of them; 0 is the dense model. loss is positive if the trial is worse than dense: the
-- difference of the values, for perplexity the logarithm of their ratio. The values chose the units, so they are on
-- average too good.
-- topic: search
-- first: name, n_removed, unit, language, metric, value, loss
-- $search VARCHAR = NULL
-- $language VARCHAR = NULL
-- $metric VARCHAR = NULL
WITH kept AS (
    SELECT
        search_id, batch_id, batch + 1 AS n_removed, variant_id, number, objective,
        list_filter(json_keys(point), lambda unit: (point -> unit)::DOUBLE = 1) AS units
    FROM search_trials
    WHERE missed IS NOT NULL AND status = 'kept'
),
ordered AS (
    SELECT *, coalesce(lag(units) OVER (PARTITION BY search_id ORDER BY n_removed), []) AS earlier
    FROM kept
),
evaluated AS (
    SELECT
        o.search_id, o.n_removed, o.number, o.objective, o.variant_id, e.evaluation_id,
        list_filter(o.units, lambda unit: NOT list_contains(o.earlier, unit))[1] AS unit
    FROM ordered AS o
    JOIN record_parents AS p ON p.kind = 'search_batches' AND p.id = o.batch_id
    JOIN evaluations AS e ON e.evaluation_id = p.parent_id AND e.variant_id = o.variant_id
    UNION ALL BY NAME
    SELECT o.search_id, 0 AS n_removed, e.variant_id, e.evaluation_id
    FROM ordered AS o
    JOIN record_parents AS p ON p.kind = 'search_batches' AND p.id = o.batch_id
    JOIN evaluations AS e ON e.evaluation_id = p.parent_id
    JOIN internal.variant_descriptions AS d ON d.variant_id = e.variant_id AND d.is_dense
    WHERE o.n_removed = 1
),
valued AS (
    SELECT
        r.*, m.task, m.split, m.language, m.metric, m.value, m.ci_low, m.ci_high, m.n, m.higher_is_better,
        first_value(m.value) OVER (
            PARTITION BY r.search_id, m.task, m.language, m.metric ORDER BY r.n_removed
        ) AS dense_value
    FROM evaluated AS r
    JOIN metrics AS m ON m.evaluation_id = r.evaluation_id
)
SELECT
    s.name, c.n_removed, c.unit, c.language, c.task, c.split, c.metric, c.value, c.ci_low, c.ci_high, c.dense_value,
    CASE
        WHEN c.metric = 'perplexity' THEN ln(c.value / c.dense_value)
        WHEN c.higher_is_better THEN c.dense_value - c.value
        ELSE c.value - c.dense_value
    END AS loss,
    1 - v.achieved_sparsity AS kept_share, c.objective, c.number, c.n, c.higher_is_better, b.source AS base_model,
    s.recipe, v.label, c.variant_id, c.search_id, s.base_model_id
FROM valued AS c
JOIN internal.described_searches AS s ON s.search_id = c.search_id
JOIN base_models AS b ON b.base_model_id = s.base_model_id
LEFT JOIN described_variants AS v ON v.variant_id = c.variant_id
WHERE
    ($search::VARCHAR IS NULL OR s.name = $search::VARCHAR)
    AND ($language::VARCHAR IS NULL OR c.language = $language::VARCHAR)
    AND ($metric::VARCHAR IS NULL OR c.metric = $metric::VARCHAR)
ORDER BY
    base_model, s.base_model_id, s.recipe, s.name, c.search_id, c.task, c.metric, c.language <> 'en', c.language,
    c.n_removed;
