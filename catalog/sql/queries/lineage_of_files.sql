-- lineage_of_files: one row per record that an evaluation was made from, at any remove, and file of it: the predictions of
-- the very examples, the masks, the statistics, the demonstrations with their sentences (columns text, sentence_ids),
-- with their SHA-256, and where and when the record was made. step_version says which version of the step's code; the
-- code itself, the libraries and the machine are in lineage_of_code, the sentences in lineage_of_sentences.
-- $evaluation_id VARCHAR
WITH behind AS MATERIALIZED (SELECT * FROM origins($evaluation_id)),
named AS (SELECT id, min(name) AS name FROM names SEMI JOIN behind USING (id) GROUP BY id)
SELECT
    o.n_steps, o.kind, o.id, n.name, o.step_version, a.path, a.n_rows, a.n_bytes, a.sha256,
    o.run_id, o.host, o.started_at, o.elapsed_s
FROM behind AS o
LEFT JOIN artefacts AS a ON a.kind = o.kind AND a.id = o.id
LEFT JOIN named AS n ON n.id = o.id
ORDER BY o.n_steps, o.kind, o.id, a.path;
