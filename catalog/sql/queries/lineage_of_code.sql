-- lineage_of_code: one row per record that an evaluation was made from, directly or indirectly: the commit and the
-- SHA-256 of the code that made it, the interpreter, the main libraries, the processor, and the run.
-- packages_of_environment lists all packages of an environment. The columns are NULL if no run file mentions the
-- record.
-- topic: origin
-- $evaluation_id VARCHAR
WITH libraries AS (
    SELECT environment_id,
        max(version) FILTER (package = 'torch') AS torch,
        max(version) FILTER (package = 'transformers') AS transformers,
        max(version) FILTER (package = 'numpy') AS numpy
    FROM environment_packages
    GROUP BY environment_id
)
SELECT
    o.n_steps, o.kind, o.id, o.step_version, e.mlprune, e.git_commit, e.is_modified, e.code_sha256, e.python, l.torch,
    l.transformers, l.numpy, e.processor, e.instructions, e.accelerators, e.system, o.environment_id, o.run_id,
    s.command, s.recipe, o.host, o.started_at
FROM origins($evaluation_id) AS o
LEFT JOIN environments AS e ON e.environment_id = o.environment_id
LEFT JOIN libraries AS l ON l.environment_id = o.environment_id
LEFT JOIN runs AS s ON s.run_id = o.run_id
ORDER BY o.n_steps, o.kind, o.id;
