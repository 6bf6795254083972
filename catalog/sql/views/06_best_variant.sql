-- best_variant: one row per base model, task, language, scoring rule and setup: the pruned variant most accurate on dev
-- (ties: the sparser, then the smaller id), what it reaches on test, and what English pays or gains there.
-- Where there are evaluations of several sizes the largest counts.
CREATE OR REPLACE VIEW best_variant AS
WITH chosen AS (
    SELECT
        v.base_model_id, m.task, m.language, m.metric, m.scoring_rule, m.setup,
        min({
            smaller: -m.n, worse: -coalesce(m.value, '-inf'::DOUBLE), denser: -v.sparsity, variant_id: m.variant_id
        }) AS best
    FROM metrics AS m
    JOIN variant_descriptions AS v ON v.variant_id = m.variant_id
    WHERE m.split = 'dev' AND m.metric = 'accuracy' AND v.sparsity > 0
    GROUP BY ALL
),
tested AS (
    SELECT m.*
    FROM metrics AS m
    SEMI JOIN chosen AS c ON c.best.variant_id = m.variant_id
    ANTI JOIN outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
    WHERE m.split = 'test' AND m.metric = 'accuracy'
),
gains AS (
    SELECT c.*, d.base_model_id
    FROM comparisons_once AS c
    SEMI JOIN tested AS t ON t.evaluation_id = c.evaluation_id
    JOIN dense_values AS d ON d.evaluation_id = c.baseline_evaluation_id AND d.metric = c.metric
    WHERE c.split = 'test' AND c.metric = 'accuracy'
)
SELECT
    c.base_model_id,
    c.task,
    c.language,
    c.metric,
    c.scoring_rule,
    c.setup,
    v.variant_id,
    v.variant_name,
    v.score,
    v.structure,
    v.propagation,
    v.set_kind,
    v.source_language,
    v.target_language,
    v.demonstrations,
    v.settings,
    v.sparsity,
    nullif(-c.best.worse, '-inf'::DOUBLE) AS dev_value,
    t.value AS test_value,
    t.ci_low AS test_ci_low,
    t.ci_high AS test_ci_high,
    d.value AS dense_value,
    coalesce(g.difference, t.value - d.value) AS difference,
    g.ci_low AS difference_ci_low,
    g.ci_high AS difference_ci_high,
    g.p_value,
    g.p_adjusted,
    coalesce(e.difference, te.value - de.value) AS english_difference,
    e.ci_low AS english_ci_low,
    e.ci_high AS english_ci_high,
    e.p_value AS english_p_value
FROM chosen AS c
JOIN variant_descriptions AS v ON v.variant_id = c.best.variant_id
LEFT JOIN tested AS t
    ON t.variant_id = v.variant_id AND t.task = c.task AND t.language = c.language
    AND t.scoring_rule IS NOT DISTINCT FROM c.scoring_rule
    AND t.setup IS NOT DISTINCT FROM c.setup
LEFT JOIN dense_values AS d
    ON d.base_model_id = c.base_model_id AND d.task = t.task AND d.language = t.language AND d.split = t.split
    AND d.metric = t.metric AND d.scoring_rule IS NOT DISTINCT FROM t.scoring_rule
    AND d.example_limit IS NOT DISTINCT FROM t.example_limit AND d.setup IS NOT DISTINCT FROM t.setup
LEFT JOIN gains AS g ON g.evaluation_id = t.evaluation_id AND g.base_model_id = c.base_model_id
LEFT JOIN tested AS te
    ON te.variant_id = v.variant_id AND te.task = c.task AND te.language = 'en'
    AND te.scoring_rule IS NOT DISTINCT FROM c.scoring_rule
    AND te.setup IS NOT DISTINCT FROM c.setup
LEFT JOIN dense_values AS de
    ON de.base_model_id = c.base_model_id AND de.task = te.task AND de.language = te.language AND de.split = te.split
    AND de.metric = te.metric AND de.scoring_rule IS NOT DISTINCT FROM te.scoring_rule
    AND de.example_limit IS NOT DISTINCT FROM te.example_limit AND de.setup IS NOT DISTINCT FROM te.setup
LEFT JOIN gains AS e ON e.evaluation_id = te.evaluation_id AND e.base_model_id = c.base_model_id;
-- dev_value: accuracy on dev, by which the variant was chosen
-- test_value: accuracy on test
-- test_ci_low: lower end of its 95 % bootstrap interval
-- test_ci_high: upper end of its 95 % bootstrap interval
-- dense_value: the dense model's accuracy on test
-- difference_ci_low: lower end of the 95 % paired bootstrap interval of difference
-- difference_ci_high: upper end of the 95 % paired bootstrap interval of difference
-- english_difference: what English gains on test, the variant's value minus the dense model's
-- english_ci_low: lower end of its 95 % paired bootstrap interval
-- english_ci_high: upper end of its 95 % paired bootstrap interval
-- english_p_value: its two-sided p-value
