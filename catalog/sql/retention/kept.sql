-- kept: one row per variant whose files are kept whatever its rank: what was chosen on dev, winners of searches, and the
-- trials of searches that are not finished.
SELECT variant_id, min(reason) AS reason
FROM (
    SELECT variant_id, 'chosen on dev: ' || task AS reason FROM choices WHERE is_chosen
    UNION ALL
    SELECT variant_id, 'winner of a search' FROM searches WHERE variant_id IS NOT NULL
    UNION ALL
    SELECT t.variant_id, 'trial of an unfinished search'
    FROM search_trials AS t
    ANTI JOIN searches AS s ON s.search_id = t.search_id
) AS reasons
GROUP BY variant_id
ORDER BY variant_id;
