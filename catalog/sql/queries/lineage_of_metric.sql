-- lineage_of_metric: what a metric was made from: files and code. One row per record that an evaluation was made
-- from, directly or indirectly, and file of it: the predictions, masks, statistics, and demonstrations with their sentences
-- (columns text, sentence_ids), with their SHA-256; the commit and the SHA-256 of the code that made the record, the
-- interpreter, the main libraries, the processor, the run, and where and when it was. n_steps is 0 for the evaluation. The
-- columns of the code are NULL if no run file mentions the record. The table environment_packages lists all packages of an
-- environment, and internal.lineage has the settings of every metric in one row.
-- topic: origin
-- first: n_steps, kind, name, path, sha256, git_commit
-- $evaluation_id VARCHAR
WITH ancestors AS MATERIALIZED (SELECT * FROM origins($evaluation_id)),
named AS (SELECT id, min(name) AS name FROM names SEMI JOIN ancestors USING (id) GROUP BY id),
libraries AS (
    SELECT environment_id,
        max(version) FILTER (package = 'torch') AS torch,
        max(version) FILTER (package = 'transformers') AS transformers,
        max(version) FILTER (package = 'numpy') AS numpy
    FROM environment_packages
    GROUP BY environment_id
)
SELECT
    o.n_steps, o.kind, o.id, n.name, o.step_version, a.path, a.n_rows, a.n_bytes, a.sha256,
    e.mlprune, e.git_commit, e.is_modified, e.code_sha256, e.python, l.torch, l.transformers, l.numpy, e.processor,
    e.instructions, e.accelerators, e.system, o.environment_id, o.run_id, s.command, s.recipe, o.host, o.started_at,
    o.elapsed_s
FROM ancestors AS o
LEFT JOIN artefacts AS a ON a.kind = o.kind AND a.id = o.id
LEFT JOIN named AS n ON n.id = o.id
LEFT JOIN environments AS e ON e.environment_id = o.environment_id
LEFT JOIN libraries AS l ON l.environment_id = o.environment_id
LEFT JOIN runs AS s ON s.run_id = o.run_id
ORDER BY o.n_steps, o.kind, o.id, a.path;
