-- lineage_of_sentences: one row per demonstration that the masks of an evaluated variant were made with: its very text and
-- the numbers of its sentences in the corpus. sets are what the statistics and the contrast were observed on, the parts
-- of a mixed set in their own place too.
-- $evaluation_id VARCHAR
WITH RECURSIVE made_from(id) AS (
    SELECT parent_id FROM record_parents WHERE kind = 'evaluations' AND id = $evaluation_id
    UNION
    (
        SELECT p.parent_id
        FROM made_from AS m
        JOIN record_parents AS p ON p.id = m.id AND p.kind NOT IN ('evaluations', 'comparisons', 'rank_consistency')
        UNION ALL
        SELECT v.ordering_id FROM made_from AS m JOIN variants AS v ON v.variant_id = m.id
        WHERE v.ordering_id IS NOT NULL
    )
),
named AS (SELECT id, min(name) AS name FROM names WHERE kind = 'demonstration_set' GROUP BY id)
SELECT
    d.demonstration_set_id, n.name, s.source_language, s.target_language, d.demonstration, d.kind, d.n_tokens,
    d.sentence_ids, d.text
FROM demonstrations AS d
SEMI JOIN made_from AS m ON m.id = d.demonstration_set_id
JOIN demonstration_sets AS s USING (demonstration_set_id)
LEFT JOIN named AS n ON n.id = d.demonstration_set_id
ORDER BY n.name, d.demonstration_set_id, d.demonstration;
