-- sparsity_curve: one row per point of a curve: the mean over the variants that differ in nothing but seeds (also of a
-- bootstrap). The points of a curve have the same method (see described_variants) and the same sizes of sets. Each curve
-- starts with the dense model at sparsity 0. A mean over several variants has no interval here: see method_differences.
-- Evaluations that a larger or later one replaces are left out.
CREATE OR REPLACE VIEW internal.sparsity_curve AS
WITH points AS (
    SELECT
        v.method, v.sets_made_of, m.task, m.split, m.metric, m.language, m.scoring_rule, m.example_limit, m.protocol_id,
        v.sparsity,
        list_avg(list_sort(list(m.value))) AS value,
        CASE WHEN count(DISTINCT m.variant_id) = 1 THEN min(m.ci_low) END AS ci_low,
        CASE WHEN count(DISTINCT m.variant_id) = 1 THEN max(m.ci_high) END AS ci_high,
        max(m.n) AS n,
        count(DISTINCT m.variant_id) AS n_variants
    FROM metrics AS m
    ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
    JOIN internal.variant_descriptions AS v ON v.variant_id = m.variant_id
    WHERE m.profile = 'corrected' AND NOT v.is_dense AND v.intervention IS NULL
    GROUP BY ALL
),
curves AS (
    SELECT DISTINCT method, sets_made_of, task, split, metric, language, scoring_rule, example_limit, protocol_id
    FROM points
),
methods AS (
    SELECT DISTINCT
        method, sets_made_of, base_model_id, score, propagation, structure, source_language, target_language, set_kind,
        demonstration_label, settings, shots, samples
    FROM internal.variant_descriptions
),
all_points AS (
    SELECT * FROM points
    UNION ALL BY NAME
    SELECT c.*, 0.0::DOUBLE AS sparsity, d.value, d.ci_low, d.ci_high, d.n, 1 AS n_variants
    FROM curves AS c
    JOIN methods AS k ON k.method = c.method AND k.sets_made_of IS NOT DISTINCT FROM c.sets_made_of
    JOIN measured AS d
        ON d.is_dense
        AND d.base_model_id = k.base_model_id
        AND d.task = c.task
        AND d.split = c.split
        AND d.metric = c.metric
        AND d.language = c.language
        AND d.scoring_rule IS NOT DISTINCT FROM c.scoring_rule
        AND d.example_limit IS NOT DISTINCT FROM c.example_limit
        AND d.protocol_id = c.protocol_id
)
SELECT
    k.base_model_id, k.method, p.task, p.split, p.metric, p.language, p.scoring_rule, p.example_limit, p.protocol_id,
    k.score, k.propagation, k.structure, k.source_language, k.target_language, k.set_kind, k.demonstration_label,
    k.settings, k.shots, k.samples, k.sets_made_of, p.sparsity, p.value, p.ci_low, p.ci_high, p.n, p.n_variants
FROM all_points AS p
JOIN methods AS k ON k.method = p.method AND k.sets_made_of IS NOT DISTINCT FROM p.sets_made_of;
-- sets_made_of: the demonstration sets without profile and seed, see described_variants
-- ci_low: lower end of the variant's 95 % interval; NULL for a mean over several variants
-- ci_high: upper end of the variant's 95 % interval; NULL for a mean over several variants
-- n: number of examples
-- n_variants: number of variants that the point is the mean of
