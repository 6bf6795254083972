-- search_evaluation_saved: one row per report of a finished search: items x languages that were scored for its trials,
-- those that all its variants would have needed on all items, and the share that was saved.
-- title: Evaluation saved by searches
-- anchor: search-saved
-- after: search_winners
-- topic: Searches
-- below: search-front
-- optional: true
-- explanation: Items x languages scored for the trials, against scoring all variants of the search on all items.
-- empty: The store has no search. An entry under searches fills this figure.
-- column name: search
-- column method: method
-- column n_trials: trials
-- column n_variants: variants
-- column n_items: items scored
-- column n_items_if_all_were_scored: without the method
-- column saved_share: saved
SELECT
    n.name, s.method, s.n_trials, s.n_variants, s.n_items, s.n_items_if_all_were_scored,
    1 - s.n_items / nullif(s.n_items_if_all_were_scored, 0) AS saved_share,
    s.rungs, s.budget, s.direction, s.objective, s.constraints, n.recipe, s.search_id, s.result_id
FROM searches AS s
JOIN internal.described_searches AS n ON n.search_id = s.search_id
ORDER BY n.recipe, n.name, s.result_id;
