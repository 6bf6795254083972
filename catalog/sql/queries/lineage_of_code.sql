-- lineage_of_code: one row per record that an evaluation was made from, at any remove: the commit and the SHA-256 of the
-- code that made it, the interpreter, the main libraries, the processor, and the run. All packages of an environment are
-- in packages_of_environment. NULL where the run was of an earlier version, or no run file tells of the record.
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
    SELECT r.record_kind, r.record_id, j.run_id, j.host, j.started_at, j.environment_id
    FROM job_records AS r
    JOIN jobs AS j USING (run_file)
    SEMI JOIN pieces AS p ON p.id = r.record_id
    WHERE j.status = 'done'
    QUALIFY row_number() OVER (PARTITION BY r.record_kind, r.record_id ORDER BY j.started_at DESC, run_file) = 1
),
libraries AS (
    SELECT environment_id,
        max(version) FILTER (package = 'torch') AS torch,
        max(version) FILTER (package = 'transformers') AS transformers,
        max(version) FILTER (package = 'numpy') AS numpy
    FROM environment_packages
    GROUP BY environment_id
)
SELECT
    p.n_steps, r.kind, p.id, r.step_version, e.mlprune, e.git_commit, e.is_modified, e.code_sha256, e.python, l.torch,
    l.transformers, l.numpy, e.processor, e.instructions, e.accelerators, e.system, j.environment_id, j.run_id,
    s.command, s.recipe, j.host, j.started_at
FROM pieces AS p
JOIN records AS r ON r.id = p.id
LEFT JOIN last_jobs AS j ON j.record_kind = r.kind AND j.record_id = r.id
LEFT JOIN environments AS e ON e.environment_id = j.environment_id
LEFT JOIN libraries AS l ON l.environment_id = j.environment_id
LEFT JOIN runs AS s ON s.run_id = j.run_id
ORDER BY p.n_steps, r.kind, p.id;
