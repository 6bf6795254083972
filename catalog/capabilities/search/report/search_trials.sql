-- search_trials: one row per trial of a search: what it cost, its value on dev, whether it was kept, and its values of all
-- axes and units. is_new_best: it was the best of its rung when its batch was evaluated; is_winner: it is the reported
-- winner.
-- title: Trials of the searches
-- anchor: search-trials
-- draw: catalog.capabilities.search.panels:trial_panels
-- after: search_final
-- topic: Searches
-- optional: true
-- explanation: Left: each trial at the number of items that had been scored by then, and the best trial of each rung so
-- far. Values of different rungs are based on different items. Right: one line per trial over the axes and units of the
-- space. All values are of dev.
-- empty: The store has no search. An entry under searches fills this figure.
SELECT
    m.source AS base_model, s.base_model_id, s.name, s.recipe, s.direction, t.search_id, t.number, t.batch, t.rung,
    t.item_limit, t.parent, t.n_items, t.n_items_so_far, t.objective, t.ci_low, t.ci_high, t.dense_objective,
    t.is_feasible, t.status, t.reason, t.p_worse IS NULL AS is_new_best,
    coalesce(r.number = t.number, false) AS is_winner, v.label, t.point, t.variant_id
FROM search_trials AS t
JOIN internal.described_searches AS s ON s.search_id = t.search_id
JOIN base_models AS m ON m.base_model_id = s.base_model_id
LEFT JOIN described_variants AS v ON v.variant_id = t.variant_id
LEFT JOIN (SELECT search_id, min(number) AS number FROM searches GROUP BY search_id) AS r ON r.search_id = t.search_id
ORDER BY base_model, s.base_model_id, s.name, t.search_id, t.number;
