-- origins: one row per record that a variant or an evaluation was made from, directly or indirectly, with the code, the
-- libraries, the processor and the run that made it
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
