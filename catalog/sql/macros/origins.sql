-- origins: one row per record that a given record was made from, directly or indirectly, with the last job that made
-- it. The given record itself has 0 steps. It may be an evaluation, a variant, or any record that these are made from.
-- The masks of a sweep, a combination or a composition name their variant, which is described from them: only the given
-- record leads to such a variant, so that the steps end.
CREATE OR REPLACE MACRO origins(of_id) AS TABLE
WITH RECURSIVE made_from(id, n_steps) AS (
    SELECT of_id, 0
    UNION ALL
    SELECT parent_id, 1 FROM record_parents WHERE id = of_id
    UNION
    (
        SELECT p.parent_id, m.n_steps + 1
        FROM made_from AS m
        JOIN record_parents AS p ON p.id = m.id AND p.kind NOT IN ('evaluations', 'comparisons', 'rank_consistency')
        WHERE p.role <> 'variant' OR p.kind NOT IN ('masks', 'mask_blocks', 'mask_compositions')
        UNION ALL
        SELECT o.ordering_id, m.n_steps + 1
        FROM made_from AS m
        JOIN ordering_variants AS o ON o.variant_id = m.id
        UNION ALL
        SELECT c.composition_id, m.n_steps + 1
        FROM made_from AS m
        JOIN compositions AS c ON c.variant_id = m.id
    )
),
pieces AS (SELECT id, min(n_steps) AS n_steps FROM made_from GROUP BY id),
last_jobs AS (
    SELECT r.record_kind, r.record_id, j.run_id, j.host, j.started_at, j.elapsed_s, j.environment_id
    FROM job_records AS r
    JOIN jobs AS j ON j.run_file = r.run_file
    SEMI JOIN pieces AS p ON p.id = r.record_id
    WHERE j.status = 'done'
    QUALIFY row_number() OVER (PARTITION BY r.record_kind, r.record_id ORDER BY j.started_at DESC, j.run_file) = 1
)
SELECT
    p.n_steps, r.kind, p.id, r.step_version, j.run_id, j.host, j.started_at, j.elapsed_s, j.environment_id
FROM pieces AS p
JOIN records AS r ON r.id = p.id
LEFT JOIN last_jobs AS j ON j.record_kind = r.kind AND j.record_id = r.id;
