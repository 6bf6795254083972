-- code: one row per environment that jobs ran in: the code, the main libraries and the kind of machine
-- title: Code and libraries
-- anchor: code
-- explanation: Code and machines that jobs ran on. A commit marked as changed differs from the code that ran; the hash
-- identifies that code. environment_packages lists every installed package.
-- empty: No run has recorded its environment.
-- column mlprune: mlprune
-- column git_commit: commit
-- column code_sha256: hash of the code
-- column python: Python
-- column torch: torch
-- column transformers: transformers
-- column processor: processor
-- column n_hosts: hosts
-- column n_jobs: jobs
-- column first_started_at: first start
-- column environment_id: environment
WITH used AS (
    SELECT environment_id, count(*) AS n_jobs, count(DISTINCT host) AS n_hosts, min(started_at) AS first_started_at
    FROM jobs
    WHERE environment_id IS NOT NULL
    GROUP BY environment_id
),
libraries AS (
    SELECT environment_id,
        max(version) FILTER (package = 'torch') AS torch,
        max(version) FILTER (package = 'transformers') AS transformers
    FROM environment_packages
    GROUP BY environment_id
)
SELECT
    e.mlprune,
    left(e.git_commit, 12) || CASE WHEN e.is_modified THEN ', changed' ELSE '' END AS git_commit,
    left(e.code_sha256, 12) AS code_sha256,
    e.python, l.torch, l.transformers,
    concat_ws(', ', e.processor, e.instructions, nullif(e.accelerators, '')) AS processor,
    u.n_hosts, u.n_jobs, u.first_started_at, e.environment_id
FROM used AS u
JOIN environments AS e USING (environment_id)
LEFT JOIN libraries AS l USING (environment_id)
ORDER BY u.first_started_at, e.environment_id;
