-- lineage_of_files: one row per record that an evaluation was made from, at any remove, and file of it: the predictions of
-- the very examples, the masks, the statistics, the demonstrations with their sentences (columns text, sentence_ids),
-- with their SHA-256, and where and when the record was made. step_version says which version of the step's code; the
-- code itself, the libraries and the machine are in lineage_of_code, the sentences in lineage_of_sentences.
-- $evaluation_id VARCHAR
WITH RECURSIVE made_from(id, n_steps) AS (
    SELECT $evaluation_id, 0
    UNION ALL
    SELECT parent_id, 1 FROM record_parents WHERE kind = 'evaluations' AND id = $evaluation_id
    UNION
    (
        SELECT p.parent_id, m.n_steps + 1
        FROM made_from AS m
        JOIN record_parents AS p ON p.id = m.id AND p.kind NOT IN ('evaluations', 'comparisons', 'rank_consistency')
        UNION ALL
        SELECT v.ordering_id, m.n_steps + 1
        FROM made_from AS m
        JOIN variants AS v ON v.variant_id = m.id
        WHERE v.ordering_id IS NOT NULL
    )
),
pieces AS (SELECT id, min(n_steps) AS n_steps FROM made_from GROUP BY id),
last_jobs AS (
    SELECT r.record_kind, r.record_id, j.run_id, j.host, j.started_at, j.elapsed_s
    FROM job_records AS r
    JOIN jobs AS j USING (run_file)
    SEMI JOIN pieces AS p ON p.id = r.record_id
    WHERE j.status = 'done'
    QUALIFY row_number() OVER (PARTITION BY r.record_kind, r.record_id ORDER BY j.started_at DESC, run_file) = 1
),
named AS (SELECT id, min(name) AS name FROM names SEMI JOIN pieces USING (id) GROUP BY id)
SELECT
    p.n_steps, r.kind, p.id, n.name, r.step_version, a.path, a.n_rows, a.n_bytes, a.sha256,
    j.run_id, j.host, j.started_at, j.elapsed_s
FROM pieces AS p
JOIN records AS r ON r.id = p.id
LEFT JOIN artefacts AS a ON a.kind = r.kind AND a.id = r.id
LEFT JOIN named AS n ON n.id = p.id
LEFT JOIN last_jobs AS j ON j.record_kind = r.kind AND j.record_id = r.id
ORDER BY p.n_steps, r.kind, p.id, a.path;
