-- sets: one row per demonstration set, as in described_sets, with the names that recipes give it
SELECT s.label, n.names, s.* EXCLUDE (label)
FROM internal.described_sets AS s
LEFT JOIN (
    SELECT id, string_agg(DISTINCT name, ', ' ORDER BY name) AS names
    FROM names
    WHERE kind = 'demonstration_set'
    GROUP BY id
) AS n ON n.id = s.demonstration_set_id;
