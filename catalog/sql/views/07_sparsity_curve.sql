-- sparsity_curve: one row per point of a curve: the mean over the variants that share everything but the seeds (of a
-- bootstrap too) and the size of their sets; a curve has one demonstrations and one settings, see described_variants.
-- Each curve starts with the dense model at sparsity 0. ci_low and ci_high are means of the variants' own.
CREATE OR REPLACE VIEW sparsity_curve AS
WITH points AS (
    SELECT
        m.base_model_id, m.task, m.split, m.metric, m.language, m.scoring_rule, m.example_limit, m.setup,
        v.score, v.propagation, v.structure, v.source_language, v.target_language, v.set_kind,
        v.demonstrations, v.settings, v.sparsity,
        avg(m.value ORDER BY m.evaluation_id) AS value,
        avg(m.ci_low ORDER BY m.evaluation_id) AS ci_low,
        avg(m.ci_high ORDER BY m.evaluation_id) AS ci_high,
        count(DISTINCT m.variant_id) AS n_variants
    FROM measured AS m
    JOIN described_variants AS v ON v.variant_id = m.variant_id
    WHERE NOT v.is_dense AND v.intervention IS NULL
    GROUP BY ALL
),
curves AS (
    SELECT DISTINCT
        base_model_id, task, split, metric, language, scoring_rule, example_limit, setup,
        score, propagation, structure, source_language, target_language, set_kind, demonstrations, settings
    FROM points
)
SELECT * FROM points
UNION ALL BY NAME
SELECT c.*, 0.0::DOUBLE AS sparsity, d.value, d.ci_low, d.ci_high, 1 AS n_variants
FROM curves AS c
JOIN measured AS d
    ON d.is_dense
    AND d.base_model_id = c.base_model_id
    AND d.task = c.task
    AND d.split = c.split
    AND d.metric = c.metric
    AND d.language = c.language
    AND d.scoring_rule IS NOT DISTINCT FROM c.scoring_rule
    AND d.example_limit IS NOT DISTINCT FROM c.example_limit
    AND d.setup IS NOT DISTINCT FROM c.setup;
