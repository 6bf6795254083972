-- best_variant: one row per base model, task, language, scoring rule and setup: the pruned variant most accurate on dev
-- (ties: the sparser, then the smaller id), what it reaches on test, and what English pays or gains there.
-- Where there are evaluations of several sizes the largest counts.
CREATE OR REPLACE VIEW best_variant AS
WITH chosen AS (
    SELECT * FROM measured
    WHERE split = 'dev' AND metric = 'accuracy' AND sparsity > 0
    QUALIFY row_number() OVER (
        PARTITION BY base_model_id, task, language, scoring_rule, setup
        ORDER BY n DESC, value DESC NULLS LAST, sparsity DESC, variant_id
    ) = 1
),
tested AS (
    SELECT * FROM measured
    WHERE split = 'test' AND metric = 'accuracy' AND variant_id IN (SELECT variant_id FROM chosen)
    QUALIFY row_number() OVER (
        PARTITION BY variant_id, task, language, scoring_rule, setup ORDER BY n DESC, evaluation_id
    ) = 1
),
gains AS (
    SELECT g.* FROM gain_over_dense AS g
    JOIN tested AS t ON t.evaluation_id = g.evaluation_id AND t.metric = g.metric
)
SELECT
    c.base_model_id,
    c.task,
    c.language,
    c.metric,
    c.scoring_rule,
    c.setup,
    c.variant_id,
    c.variant_name,
    v.score,
    v.structure,
    v.propagation,
    v.set_kind,
    v.source_language,
    v.target_language,
    v.demonstrations,
    v.settings,
    v.sparsity,
    c.value AS dev_value,
    t.value AS test_value,
    t.ci_low AS test_ci_low,
    t.ci_high AS test_ci_high,
    t.dense_value,
    coalesce(g.difference, t.value - t.dense_value) AS difference,
    g.ci_low AS difference_ci_low,
    g.ci_high AS difference_ci_high,
    g.p_value,
    g.p_adjusted,
    coalesce(e.difference, te.value - te.dense_value) AS english_difference,
    e.ci_low AS english_ci_low,
    e.ci_high AS english_ci_high,
    e.p_value AS english_p_value
FROM chosen AS c
JOIN described_variants AS v ON v.variant_id = c.variant_id
LEFT JOIN tested AS t
    ON t.variant_id = c.variant_id AND t.task = c.task AND t.language = c.language
    AND t.scoring_rule IS NOT DISTINCT FROM c.scoring_rule
    AND t.setup IS NOT DISTINCT FROM c.setup
LEFT JOIN gains AS g ON g.evaluation_id = t.evaluation_id
LEFT JOIN tested AS te
    ON te.variant_id = c.variant_id AND te.task = c.task AND te.language = 'en'
    AND te.scoring_rule IS NOT DISTINCT FROM c.scoring_rule
    AND te.setup IS NOT DISTINCT FROM c.setup
LEFT JOIN gains AS e ON e.evaluation_id = te.evaluation_id;
