-- lineage_of_sentences: one row per demonstration that the masks of an evaluated variant were made with: its text and
-- the indices of its sentences in the corpus. The sets are those that statistics and contrast were observed on; the
-- parts of a mixed set are included too.
-- topic: origin
-- $evaluation_id VARCHAR
WITH named AS (SELECT id, min(name) AS name FROM names WHERE kind = 'demonstration_set' GROUP BY id)
SELECT
    d.demonstration_set_id, n.name, s.source_language, s.target_language, d.demonstration, d.kind, d.n_tokens,
    d.sentence_ids, d.text
FROM demonstrations AS d
SEMI JOIN origins($evaluation_id) AS o ON o.id = d.demonstration_set_id
JOIN demonstration_sets AS s ON s.demonstration_set_id = d.demonstration_set_id
LEFT JOIN named AS n ON n.id = d.demonstration_set_id
ORDER BY n.name, d.demonstration_set_id, d.demonstration;
