-- search_trials_best: one row per search and variant that it tried, the best first: its last trial, on the most items.
-- Variants on more items come first, then those that miss the constraints by less. Values on dev chose among the trials,
-- so the best one is on average too good: search_final has the values on the split of the report.
-- topic: search
-- $search VARCHAR = NULL
-- $with_stopped BOOLEAN = true
WITH last_trials AS (
    SELECT *
    FROM search_trials
    QUALIFY row_number() OVER (PARTITION BY search_id, variant_id ORDER BY rung DESC, number DESC) = 1
)
SELECT
    s.name,
    row_number() OVER (
        PARTITION BY t.search_id
        ORDER BY
            t.rung DESC, t.violation NULLS LAST,
            CASE WHEN s.direction = 'minimise' THEN t.objective ELSE -t.objective END NULLS LAST, t.number
    ) AS place,
    t.number, v.label, t.objective, t.ci_low, t.ci_high, t.dense_objective, t.is_feasible, t.violation,
    t.status, t.reason, t.n_items, t.item_limit, t.rung, t.parent, s.direction, t.point, s.recipe,
    t.variant_id, t.search_id, s.base_model_id
FROM last_trials AS t
JOIN internal.described_searches AS s ON s.search_id = t.search_id
LEFT JOIN described_variants AS v ON v.variant_id = t.variant_id
WHERE ($search::VARCHAR IS NULL OR s.name = $search::VARCHAR) AND ($with_stopped OR t.status = 'kept')
ORDER BY s.base_model_id, s.name, t.search_id, place;
