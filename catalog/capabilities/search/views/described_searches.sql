-- described_searches: one row per search with a finished batch: its name, its model, and in which direction it goes
CREATE OR REPLACE VIEW internal.described_searches AS
WITH trials AS (
    SELECT search_id, min(variant_id) AS variant_id, count(*) AS n_trials, max(n_items_so_far) AS n_items
    FROM search_trials
    GROUP BY search_id
),
directions AS (
    SELECT a.search_id, bool_or(a.objective < b.objective) AS is_minimised
    FROM search_trials AS a
    JOIN search_trials AS b ON b.search_id = a.search_id AND b.batch = a.batch
    WHERE a.p_worse IS NULL AND a.is_feasible AND b.is_feasible
    GROUP BY a.search_id
),
named AS (
    SELECT
        id,
        string_agg(DISTINCT name, ', ' ORDER BY name) AS name,
        string_agg(DISTINCT recipe, ', ' ORDER BY recipe) AS recipe
    FROM names
    WHERE kind = 'search'
    GROUP BY id
)
SELECT
    t.search_id, coalesce(n.name, t.search_id) AS name, n.recipe, v.base_model_id,
    CASE WHEN d.is_minimised THEN 'minimise' ELSE 'maximise' END AS direction,
    t.n_trials, t.n_items
FROM trials AS t
JOIN variants AS v ON v.variant_id = t.variant_id
LEFT JOIN directions AS d ON d.search_id = t.search_id
LEFT JOIN named AS n ON n.id = t.search_id;
-- name: names of the search in recipes
-- recipe: recipes that name it
-- direction: maximise or minimise, by which trials were best of their batch
-- n_trials: number of trials evaluated so far
-- n_items: items x languages that were scored for the trials so far
