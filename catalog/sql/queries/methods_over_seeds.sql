-- methods_over_seeds: one row per language and method: perplexity relative to the dense model, averaged over the seeds of
-- the method, with its 95 % interval for other seeds and other items, and the mean cost of pruning. A method is a group of
-- variants that differ in nothing but a seed. A variant that is in no such group has n_seeds 1: its interval is for other
-- items only. Methods of equal base model, dtype, sparsity and structure are ranked: rank 1 has the lowest perplexity in
-- the language. A rank is not a test: see answers_to_questions. Of several groups with a variant, that with most seeds is
-- shown. prune_cpu_s and prune_memory_gib are for one variant, and do not include what is observed once for all methods.
-- topic: methods
-- first: language, name, ratio, ratio_ci_low, ratio_ci_high, prune_cpu_s
-- $split VARCHAR = 'test'
WITH costs AS (
    SELECT variant_id, sum(prune_cpu_s ORDER BY run_id) AS prune_cpu_s, max(prune_memory_gib) AS prune_memory_gib
    FROM variant_costs
    GROUP BY variant_id
),
named AS (
    SELECT id AS variant_id, string_agg(DISTINCT name, ', ' ORDER BY name) AS name
    FROM names
    WHERE kind = 'variant'
    GROUP BY id
),
groups AS (
    SELECT *
    FROM seed_components
    WHERE profile = 'corrected' AND task = 'perplexity' AND metric = 'perplexity' AND split = $split
        AND group_kind = 'language'
),
found AS (
    SELECT
        g.variant_id, g.variant_ids, g.group_name AS language, g.difference, g.ci_low, g.ci_high, g.n_seeds, g.n_items,
        g.example_limit, g.protocol_id
    FROM groups AS g
    ANTI JOIN groups AS o
        ON o.n_seeds > g.n_seeds AND o.seed_of = g.seed_of AND list_has_all(o.variant_ids, g.variant_ids)
        AND o.group_name = g.group_name AND o.protocol_id = g.protocol_id
        AND o.example_limit IS NOT DISTINCT FROM g.example_limit
    UNION ALL
    SELECT
        d.variant_id, [d.variant_id], d.language, d.difference, d.ci_low, d.ci_high, 1, d.n_items,
        d.example_limit, d.protocol_id
    FROM against_dense AS d
    ANTI JOIN groups AS g
        ON list_contains(g.variant_ids, d.variant_id) AND g.group_name = d.language AND g.protocol_id = d.protocol_id
        AND g.example_limit IS NOT DISTINCT FROM d.example_limit
    WHERE d.task = 'perplexity' AND d.metric = 'perplexity' AND d.split = $split AND d.group_kind = 'language'
),
averaged AS (
    SELECT
        f.* EXCLUDE (member_id),
        avg(k.prune_cpu_s ORDER BY k.prune_cpu_s) AS prune_cpu_s, max(k.prune_memory_gib) AS prune_memory_gib
    FROM (SELECT *, unnest(variant_ids) AS member_id FROM found) AS f
    LEFT JOIN costs AS k ON k.variant_id = f.member_id
    GROUP BY ALL
)
SELECT
    a.language, v.sparsity, v.structure, v.bits,
    rank() OVER (
        PARTITION BY
            v.base_model_id, r.dtype, a.language, a.protocol_id, a.example_limit, v.sparsity, v.structure, v.bits
        ORDER BY a.difference
    ) AS rank,
    n.name, v.score, v.settings, exp(a.difference) AS ratio, exp(a.ci_low) AS ratio_ci_low, exp(a.ci_high) AS ratio_ci_high,
    a.n_seeds, a.n_items, a.prune_cpu_s, a.prune_memory_gib, v.base_model_id, r.dtype, a.variant_ids
FROM averaged AS a
JOIN described_variants AS v ON v.variant_id = a.variant_id
LEFT JOIN named AS n ON n.variant_id = a.variant_id
LEFT JOIN records AS r ON r.kind = 'variants' AND r.id = a.variant_id
ORDER BY
    v.base_model_id, r.dtype, a.language, v.sparsity, v.structure NULLS FIRST, v.bits NULLS FIRST, rank, n.name, a.variant_id,
    a.example_limit, a.protocol_id;
