-- methods_over_seeds: one row per language and method: perplexity relative to the dense model with its 95 % interval, and
-- the mean cost of pruning. Variants of a method differ in nothing but seeds: ratio is that of the mean over n_seeds of
-- them, with an interval for other seeds and other items. Of one variant the interval is for other items only. Methods of
-- equal base model, dtype, sparsity and structure are ranked: rank 1 has the lowest perplexity in the language. A rank is
-- not a test: see answers_to_questions. prune_cpu_s and prune_memory_gib are for one variant, and do not include what is
-- observed once for all methods.
-- topic: methods
-- first: language, name, ratio, ratio_ci_low, ratio_ci_high, prune_cpu_s
-- $split VARCHAR = 'test'
WITH costs AS (
    SELECT variant_id, sum(prune_cpu_s ORDER BY run_id) AS prune_cpu_s, max(prune_memory_gib) AS prune_memory_gib
    FROM costs
    GROUP BY variant_id
),
named AS (
    SELECT id AS variant_id, string_agg(DISTINCT name, ', ' ORDER BY name) AS name
    FROM names
    WHERE kind = 'variant'
    GROUP BY id
),
methods AS (
    SELECT *, row_number() OVER () AS number
    FROM internal.method_differences
    WHERE task = 'perplexity' AND metric = 'perplexity' AND split = $split AND group_kind = 'language'
),
parts AS (
    SELECT
        m.number, min(o.dtype) AS dtype, string_agg(DISTINCT n.name, ', ' ORDER BY n.name) AS name,
        avg(k.prune_cpu_s ORDER BY k.prune_cpu_s) AS prune_cpu_s, max(k.prune_memory_gib) AS prune_memory_gib
    FROM (SELECT number, unnest(variant_ids) AS variant_id FROM methods) AS m
    LEFT JOIN named AS n ON n.variant_id = m.variant_id
    LEFT JOIN costs AS k ON k.variant_id = m.variant_id
    LEFT JOIN records AS o ON o.kind = 'variants' AND o.id = m.variant_id
    GROUP BY m.number
)
SELECT
    m.group_name AS language, m.sparsity, m.structure, d.bits,
    rank() OVER (
        PARTITION BY
            m.base_model_id, p.dtype, m.group_name, m.protocol_id, m.example_limit, m.sparsity, m.structure, d.bits
        ORDER BY m.difference
    ) AS rank,
    p.name, m.score, m.settings, exp(m.difference) AS ratio, exp(m.ci_low) AS ratio_ci_low, exp(m.ci_high) AS ratio_ci_high,
    m.n_variants AS n_seeds, m.n_items, p.prune_cpu_s, p.prune_memory_gib, m.base_model_id, p.dtype, m.variant_ids
FROM methods AS m
JOIN parts AS p ON p.number = m.number
LEFT JOIN described_variants AS d ON d.variant_id = m.variant_ids[1]
ORDER BY
    m.base_model_id, p.dtype, m.group_name, m.sparsity, m.structure NULLS FIRST, d.bits NULLS FIRST, rank, p.name,
    m.variant_ids, m.example_limit, m.protocol_id;
