-- cost_of_variants: seconds and memory of each variant. One row per variant for which jobs ran, according to the run files,
-- over all attempts. The time of a job that makes several records is divided equally among them. own_s is the time of the
-- variant itself, shared_s its equal share of the ordering, and evaluate_s the time of its evaluations; prune_cpu_s are
-- the CPU seconds of own_s and shared_s, evaluate_cpu_s those of evaluate_s. Observing and demonstrations serve all
-- variants and are not included: see cost_by_step.
-- topic: origin
-- $run_id VARCHAR = NULL
WITH costs AS (
    SELECT
        variant_id,
        sum(own_s ORDER BY run_id) AS own_s,
        sum(shared_s ORDER BY run_id) AS shared_s,
        sum(evaluate_s ORDER BY run_id) AS evaluate_s,
        sum(prune_cpu_s ORDER BY run_id) AS prune_cpu_s,
        sum(evaluate_cpu_s ORDER BY run_id) AS evaluate_cpu_s,
        max(peak_memory_gib) AS peak_memory_gib,
        sum(n_tokens)::BIGINT AS n_tokens,
        sum(n_tries)::BIGINT AS n_tries,
        sum(n_retries)::BIGINT AS n_retries
    FROM costs
    WHERE $run_id::VARCHAR IS NULL OR run_id = $run_id::VARCHAR
    GROUP BY variant_id
)
SELECT
    v.label, c.own_s + c.shared_s + c.evaluate_s AS total_s, c.own_s, c.shared_s, c.evaluate_s,
    c.prune_cpu_s, c.evaluate_cpu_s, c.peak_memory_gib, c.n_tokens, c.n_tries, c.n_retries,
    v.score, v.sparsity, v.propagation, v.settings, c.variant_id, v.base_model_id
FROM costs AS c
JOIN described_variants AS v ON v.variant_id = c.variant_id
ORDER BY v.base_model_id, total_s DESC, c.variant_id;
