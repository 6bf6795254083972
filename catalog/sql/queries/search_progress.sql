-- search_progress: one row per search and batch, in the order in which they ran: trials and scored items so far, and the
-- best trial so far among those that were evaluated on as many items. Batches are added while a search runs.
-- topic: search
-- $search VARCHAR = NULL
WITH batches AS (
    SELECT
        search_id, batch, rung, item_limit,
        count(*) AS n_trials, count(*) FILTER (WHERE status = 'stopped') AS n_stopped,
        max(number) + 1 AS n_trials_so_far, max(n_items_so_far) AS n_items_so_far,
        max(number) FILTER (WHERE p_worse IS NULL) AS new_best
    FROM search_trials
    GROUP BY search_id, batch, rung, item_limit
),
known AS (
    SELECT *, last_value(new_best IGNORE NULLS) OVER (PARTITION BY search_id, rung ORDER BY batch) AS best_number
    FROM batches
)
SELECT
    s.name, b.batch, b.rung, b.item_limit, b.n_trials, b.n_stopped, b.n_trials_so_far, b.n_items_so_far,
    b.best_number, t.objective AS best_objective, t.ci_low, t.ci_high, t.dense_objective, t.is_feasible,
    v.label, s.direction, s.recipe, t.variant_id, b.search_id, s.base_model_id
FROM known AS b
JOIN internal.described_searches AS s ON s.search_id = b.search_id
JOIN search_trials AS t ON t.search_id = b.search_id AND t.number = b.best_number
LEFT JOIN described_variants AS v ON v.variant_id = t.variant_id
WHERE $search::VARCHAR IS NULL OR s.name = $search::VARCHAR
ORDER BY s.base_model_id, s.name, b.search_id, b.batch;
