-- methods_compared: methods ranked in each language, over seeds. One row per language, method and sparsity: the
-- difference from dense with its 95 % interval, and the mean cost of pruning. Variants of a row differ in nothing but seeds:
-- the difference is their mean over n_seeds, with an interval for other seeds and other items; of one variant the interval is
-- for other items only. For perplexity, ratio is the value divided by that of dense. All methods of a base model and dtype
-- are ranked together, of all sparsities and structures: rank 1 has the best value in the language; rank_at_sparsity compares
-- those of equal sparsity, structure and bits. A rank is not a test: see answers_to_questions. prune_cpu_s and
-- prune_memory_gib are for one variant, and do not include what is observed once for all methods. layer_error is the mean
-- error of the layers' outputs, in all sets over which layer errors were computed in
-- this dtype.
-- topic: methods
-- first: language, rank, method, sparsity, ratio, difference, n_seeds
-- $task VARCHAR = 'perplexity'
-- $metric VARCHAR = 'perplexity'
-- $split VARCHAR = 'test'
-- $language VARCHAR = NULL
WITH of_variants AS (
    SELECT v.variant_id, v.label, v.bits, o.dtype, n.name, k.prune_cpu_s, k.prune_memory_gib, e.layer_error
    FROM described_variants AS v
    LEFT JOIN records AS o ON o.kind = 'variants' AND o.id = v.variant_id
    LEFT JOIN (
        SELECT id, string_agg(DISTINCT name, ', ' ORDER BY name) AS name FROM names WHERE kind = 'variant' GROUP BY id
    ) AS n ON n.id = v.variant_id
    LEFT JOIN (
        SELECT variant_id, sum(prune_cpu_s ORDER BY run_id) AS prune_cpu_s, max(prune_memory_gib) AS prune_memory_gib
        FROM costs
        GROUP BY variant_id
    ) AS k ON k.variant_id = v.variant_id
    LEFT JOIN (
        SELECT
            l.variant_id, g.dtype,
            avg(l.error::DECIMAL(28, 15)) AS layer_error -- decimals add up to the same in any order
        FROM layer_errors AS l
        LEFT JOIN records AS g ON g.kind = 'gram_matrices' AND g.id = l.gram_matrices_id
        GROUP BY l.variant_id, g.dtype
    ) AS e ON e.variant_id = v.variant_id AND e.dtype IS NOT DISTINCT FROM o.dtype
),
methods AS (
    SELECT *, row_number() OVER () AS number
    FROM internal.method_differences
    WHERE task = $task AND metric = $metric AND split = $split AND group_kind = 'language'
        AND ($language::VARCHAR IS NULL OR group_name = $language::VARCHAR)
),
parts AS (
    SELECT
        m.number, min(v.dtype) AS dtype, min(v.bits) AS bits, string_agg(DISTINCT v.name, ', ' ORDER BY v.name) AS name,
        avg(v.prune_cpu_s ORDER BY v.prune_cpu_s) AS prune_cpu_s, max(v.prune_memory_gib) AS prune_memory_gib,
        avg(v.layer_error ORDER BY v.layer_error) AS layer_error
    FROM (SELECT number, unnest(variant_ids) AS variant_id FROM methods) AS m
    JOIN of_variants AS v ON v.variant_id = m.variant_id
    GROUP BY m.number
),
directions AS (
    SELECT bool_and(higher_is_better) AS higher_is_better FROM metrics WHERE metric = $metric
),
ranked AS (
    SELECT m.*, p.*, CASE WHEN d.higher_is_better THEN -m.difference ELSE m.difference END AS loss
    FROM methods AS m
    JOIN parts AS p ON p.number = m.number
    CROSS JOIN directions AS d
)
SELECT
    m.group_name AS language,
    rank() OVER of_language AS rank,
    rank() OVER (
        PARTITION BY
            m.base_model_id, m.dtype, m.group_name, m.scoring_rule, m.protocol_id, m.example_limit, m.sparsity, m.structure,
            m.bits
        ORDER BY m.loss
    ) AS rank_at_sparsity,
    m.method, m.name, m.sparsity, m.structure, m.bits, m.score, m.settings,
    CASE m.scale WHEN 'log_ratio' THEN exp(m.difference) END AS ratio,
    CASE m.scale WHEN 'log_ratio' THEN exp(m.ci_low) END AS ratio_ci_low,
    CASE m.scale WHEN 'log_ratio' THEN exp(m.ci_high) END AS ratio_ci_high,
    m.difference, m.ci_low, m.ci_high, m.p_value, m.p_corrected, m.n_family, m.value, m.dense_value,
    m.n_variants AS n_seeds, m.estimate, m.n_items, m.layer_error, m.prune_cpu_s, m.prune_memory_gib, m.scale,
    m.scoring_rule, m.example_limit, q.protocol, m.base_model_id, m.dtype, m.variant_ids
FROM ranked AS m
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
WINDOW of_language AS (
    PARTITION BY m.base_model_id, m.dtype, m.group_name, m.scoring_rule, m.protocol_id, m.example_limit
    ORDER BY m.loss
)
ORDER BY
    m.base_model_id, m.dtype, m.group_name, m.scoring_rule, q.protocol NULLS FIRST, m.example_limit, rank, m.name,
    m.variant_ids;
