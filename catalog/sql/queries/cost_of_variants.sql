-- cost_of_variants: one row per variant for which jobs ran: seconds and memory according to the run files, over all
-- attempts. The time of a job that makes several records is divided equally among them. own_s is the time of the
-- variant itself, shared_s its equal share of the ordering, and evaluate_s the time of its evaluations. Observing and
-- demonstrations serve all variants and are not included: see cost_by_step.
-- $run_id VARCHAR = NULL
WITH tries AS (
    SELECT
        run_file, r.record_kind, r.record_id, j.peak_memory_gib, j.retries,
        j.elapsed_s / r.n_records AS elapsed_s,
        j.n_tokens / r.n_records AS n_tokens
    FROM job_records AS r
    JOIN jobs AS j USING (run_file)
    WHERE $run_id::VARCHAR IS NULL OR j.run_id = $run_id::VARCHAR
),
sources AS (
    SELECT variant_id, ordering_id FROM ordering_variants
    UNION
    SELECT variant_id, ordering_id FROM compositions
),
orderings_of AS (
    SELECT variant_id, ordering_id, count(*) OVER (PARTITION BY ordering_id) AS n_sharing
    FROM sources
),
pieces AS (
    SELECT variant_id, 'variants' AS kind, variant_id AS id, 'own' AS part, 1 AS n_sharing FROM variants
    UNION ALL
    SELECT variant_id, 'mask_compositions', composition_id, 'own', 1 FROM compositions
    UNION ALL
    SELECT variant_id, 'masks', ordering_id, 'shared', n_sharing FROM orderings_of
    UNION ALL
    SELECT o.variant_id, 'mask_blocks', p.parent_id, 'shared', o.n_sharing
    FROM orderings_of AS o
    JOIN record_parents AS p ON p.kind = 'masks' AND p.id = o.ordering_id
    UNION ALL
    SELECT variant_id, 'evaluations', evaluation_id, 'evaluate', 1 FROM evaluations
),
costs AS (
    SELECT
        p.variant_id,
        count(DISTINCT t.run_file) AS n_tries,
        count(DISTINCT t.run_file) FILTER (WHERE t.retries > 0) AS n_retries,
        coalesce(list_sum(list_sort(list(t.elapsed_s) FILTER (WHERE p.part = 'own'))), 0) AS own_s,
        coalesce(sum(t.elapsed_s / p.n_sharing ORDER BY t.elapsed_s) FILTER (WHERE p.part = 'shared'), 0) AS shared_s,
        coalesce(list_sum(list_sort(list(t.elapsed_s) FILTER (WHERE p.part = 'evaluate'))), 0) AS evaluate_s,
        max(t.peak_memory_gib) AS peak_memory_gib,
        round(sum(t.n_tokens / p.n_sharing ORDER BY t.n_tokens))::BIGINT AS n_tokens
    FROM pieces AS p
    JOIN tries AS t ON t.record_kind = p.kind AND t.record_id = p.id
    GROUP BY p.variant_id
)
SELECT
    v.label, c.own_s + c.shared_s + c.evaluate_s AS total_s, c.own_s, c.shared_s, c.evaluate_s,
    c.peak_memory_gib, c.n_tokens, c.n_tries, c.n_retries,
    v.score, v.sparsity, v.propagation, v.settings, c.variant_id, v.base_model_id
FROM costs AS c
JOIN described_variants AS v ON v.variant_id = c.variant_id
ORDER BY v.base_model_id, total_s DESC, c.variant_id;
