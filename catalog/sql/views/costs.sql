-- costs: seconds and memory of variants, by run. One row per run and variant for which jobs ran in it: seconds and memory
-- according to the run files, over all attempts. The time of a job that makes several records is divided equally among them;
-- an ordering and its blocks are divided equally among the variants that share it. Observing and demonstrations serve all
-- variants and are not included.
CREATE OR REPLACE VIEW costs AS
WITH tries AS (
    SELECT
        run_file, run_id, r.record_kind, r.record_id, j.peak_memory_gib, j.retries,
        j.elapsed_s / r.n_records AS elapsed_s,
        j.cpu_s / r.n_records AS cpu_s,
        j.n_tokens / r.n_records AS n_tokens
    FROM job_records AS r
    JOIN jobs AS j USING (run_file)
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
    SELECT o.variant_id, r.kind, r.id, 'shared', o.n_sharing
    FROM orderings_of AS o
    JOIN records AS r ON r.kind = 'mask_blocks' AND r.ordering_id = o.ordering_id
    UNION ALL
    SELECT variant_id, 'evaluations', evaluation_id, 'evaluate', 1 FROM evaluations
)
SELECT
    t.run_id, v.label, v.method, v.sparsity, p.variant_id,
    coalesce(list_sum(list_sort(list(t.elapsed_s) FILTER (WHERE p.part = 'own'))), 0) AS own_s,
    coalesce(sum(t.elapsed_s / p.n_sharing ORDER BY t.elapsed_s) FILTER (WHERE p.part = 'shared'), 0) AS shared_s,
    coalesce(list_sum(list_sort(list(t.elapsed_s) FILTER (WHERE p.part = 'evaluate'))), 0) AS evaluate_s,
    sum(t.cpu_s / p.n_sharing ORDER BY t.cpu_s) FILTER (WHERE p.part <> 'evaluate') AS prune_cpu_s,
    sum(t.cpu_s ORDER BY t.cpu_s) FILTER (WHERE p.part = 'evaluate') AS evaluate_cpu_s,
    max(t.peak_memory_gib) FILTER (WHERE p.part <> 'evaluate') AS prune_memory_gib,
    max(t.peak_memory_gib) AS peak_memory_gib,
    round(sum(t.n_tokens / p.n_sharing ORDER BY t.n_tokens))::BIGINT AS n_tokens,
    count(DISTINCT t.run_file) AS n_tries,
    count(DISTINCT t.run_file) FILTER (WHERE t.retries > 0) AS n_retries,
    v.base_model_id
FROM pieces AS p
JOIN tries AS t ON t.record_kind = p.kind AND t.record_id = p.id
JOIN internal.variant_descriptions AS v ON v.variant_id = p.variant_id
GROUP BY t.run_id, v.label, v.method, v.sparsity, p.variant_id, v.base_model_id;
-- own_s: seconds of the variant itself
-- shared_s: seconds of its ordering, its equal share
-- evaluate_s: seconds of its evaluations
-- prune_cpu_s: CPU seconds of the worker processes for the variant itself and its share of the ordering; NULL if unknown
-- evaluate_cpu_s: CPU seconds of its evaluations; NULL if unknown
-- prune_memory_gib: largest memory of a job that prunes
-- n_tokens: tokens that these jobs sent through the model, padding included
-- n_tries: attempts at jobs
-- n_retries: attempts after a first one
