-- methods_compared: one row per language and variant: perplexity relative to the dense model with its 95 % interval, the
-- mean error of the layers' outputs, and the cost of pruning. Variants of equal base model, dtype, sparsity and
-- structure are ranked: rank 1 has the lowest perplexity in the language. ratio_to_best divides by the lowest perplexity;
-- whether two methods differ is a question for a test: see variants_compared. p_corrected tests the difference from
-- dense. layer_error is the mean over the layers, in all sets over which layer errors were computed in this dtype.
-- prune_cpu_s does not include what is observed once for all methods. methods_over_seeds has means over seeds.
-- topic: methods
-- $split VARCHAR = 'test'
WITH errors AS (
    SELECT
        e.variant_id, g.dtype,
        avg(e.error::DECIMAL(28, 15)) AS layer_error -- decimals add up to the same in any order
    FROM layer_errors AS e
    LEFT JOIN records AS g ON g.kind = 'gram_matrices' AND g.id = e.gram_matrices_id
    GROUP BY e.variant_id, g.dtype
),
costs AS (
    SELECT variant_id, sum(prune_cpu_s ORDER BY run_id) AS prune_cpu_s, max(prune_memory_gib) AS prune_memory_gib
    FROM costs
    GROUP BY variant_id
),
ranked AS (
    SELECT
        m.*, o.dtype, v.score, v.structure, v.refiner, v.schedule, v.bits, v.propagation,
        rank() OVER same AS rank,
        m.value / nullif(first_value(m.value) OVER same, 0) AS ratio_to_best
    FROM measured AS m
    JOIN variants AS v ON v.variant_id = m.variant_id
    LEFT JOIN records AS o ON o.kind = 'evaluations' AND o.id = m.evaluation_id
    WHERE m.task = 'perplexity' AND m.metric = 'perplexity' AND m.split = $split
    WINDOW same AS (
        PARTITION BY m.base_model_id, o.dtype, m.language, m.protocol_id, m.example_limit, m.sparsity, v.structure, v.bits
        ORDER BY m.value
    )
)
SELECT
    r.language, r.sparsity, r.structure, r.bits, r.rank, r.label, r.score, r.refiner, r.schedule, r.propagation,
    r.value AS perplexity, r.value / nullif(r.dense_value, 0) AS ratio_to_dense,
    exp(c.ci_low) AS ratio_ci_low, exp(c.ci_high) AS ratio_ci_high, c.p_value, c.p_corrected, c.n_family, r.ratio_to_best,
    e.layer_error, k.prune_cpu_s, k.prune_memory_gib, r.n, r.variant_id, r.evaluation_id, r.base_model_id, r.dtype
FROM ranked AS r
LEFT JOIN internal.against_dense AS c
    ON c.evaluation_id = r.evaluation_id AND c.metric = r.metric AND c.scale = 'log_ratio'
LEFT JOIN errors AS e ON e.variant_id = r.variant_id AND e.dtype IS NOT DISTINCT FROM r.dtype
LEFT JOIN costs AS k ON k.variant_id = r.variant_id
ORDER BY
    r.base_model_id, r.dtype, r.language, r.sparsity, r.structure NULLS FIRST, r.bits NULLS FIRST, r.rank, r.label, r.variant_id,
    r.evaluation_id;
