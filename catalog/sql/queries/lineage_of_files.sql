-- lineage_of_files: one row per file of a record that an evaluation was made from, directly or indirectly: the
-- predictions, masks, statistics, and demonstrations with their sentences (columns text, sentence_ids), with their
-- SHA-256, and where and when the record was made. step_version is the version of the step's code. lineage_of_code has
-- the code, the libraries and the machine, lineage_of_sentences the sentences.
-- topic: origin
-- $evaluation_id VARCHAR
WITH ancestors AS MATERIALIZED (SELECT * FROM origins($evaluation_id)),
named AS (SELECT id, min(name) AS name FROM names SEMI JOIN ancestors USING (id) GROUP BY id)
SELECT
    o.n_steps, o.kind, o.id, n.name, o.step_version, a.path, a.n_rows, a.n_bytes, a.sha256,
    o.run_id, o.host, o.started_at, o.elapsed_s
FROM ancestors AS o
LEFT JOIN artefacts AS a ON a.kind = o.kind AND a.id = o.id
LEFT JOIN named AS n ON n.id = o.id
ORDER BY o.n_steps, o.kind, o.id, a.path;
