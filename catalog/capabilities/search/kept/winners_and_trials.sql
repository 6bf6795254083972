-- winners_and_trials: one row per winner of a search, and per trial of a search that is not finished.
SELECT variant_id, 'winner of a search' AS reason
FROM searches
WHERE variant_id IS NOT NULL
UNION ALL
SELECT t.variant_id, 'trial of an unfinished search'
FROM search_trials AS t
ANTI JOIN searches AS s ON s.search_id = t.search_id
