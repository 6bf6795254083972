-- What does this catalog contain?
-- The tasks with their languages, items and clusters of items (items of one territory are not independent), the accuracy
-- of guessing, and the number of variants. A good first question.
SELECT t.task, t.split, string_agg(DISTINCT t.language, ' ' ORDER BY t.language) AS languages,
    count(DISTINCT e.variant_id) AS variants, max(t.n) AS items, max(t.n_clusters) AS clusters, max(t.chance) AS chance
FROM tasks AS t
JOIN evaluations AS e ON e.items_id = t.items_id
GROUP BY t.task, t.split
ORDER BY t.task, t.split;
