-- sparsity_curve: one row per point of a curve: the mean over the variants that differ in nothing but seeds (also of a
-- bootstrap) and the size of their sets. All points of a curve have the same demonstration_label and settings, see
-- described_variants. Each curve starts with the dense model at sparsity 0. ci_low and ci_high are means over the
-- variants' intervals.
CREATE OR REPLACE VIEW sparsity_curve AS
WITH points AS (
    SELECT
        v.method, m.task, m.split, m.metric, m.language, m.scoring_rule, m.example_limit, m.protocol_id, v.sparsity,
        list_avg(list_sort(list(m.value))) AS value,
        list_avg(list_sort(list(m.ci_low))) AS ci_low,
        list_avg(list_sort(list(m.ci_high))) AS ci_high,
        count(DISTINCT m.variant_id) AS n_variants
    FROM metrics AS m
    JOIN variant_descriptions AS v ON v.variant_id = m.variant_id
    WHERE m.profile = 'corrected' AND NOT v.is_dense AND v.intervention IS NULL
    GROUP BY ALL
),
curves AS (
    SELECT DISTINCT method, task, split, metric, language, scoring_rule, example_limit, protocol_id FROM points
),
methods AS (
    SELECT DISTINCT
        method, base_model_id, score, propagation, structure, source_language, target_language, set_kind,
        demonstration_label, settings
    FROM variant_descriptions
),
all_points AS (
    SELECT * FROM points
    UNION ALL BY NAME
    SELECT c.*, 0.0::DOUBLE AS sparsity, d.value, d.ci_low, d.ci_high, 1 AS n_variants
    FROM curves AS c
    JOIN methods AS k ON k.method = c.method
    JOIN dense_values AS d
        ON d.base_model_id = k.base_model_id
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
    k.settings, p.sparsity, p.value, p.ci_low, p.ci_high, p.n_variants
FROM all_points AS p
JOIN methods AS k ON k.method = p.method;
-- n_variants: number of variants that the point is the mean of
