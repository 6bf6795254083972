-- best_variant: one row per base model, task, language, scoring rule and protocol: the pruned variant with the best
-- accuracy on dev, its accuracy on test, and its change in English on test. Of equally accurate variants the sparser
-- one is chosen, then the one with the smaller id. If there are evaluations of several sizes, the largest one is used.
CREATE OR REPLACE VIEW best_variant AS
WITH chosen AS (
    SELECT
        v.base_model_id, m.task, m.language, m.metric, m.scoring_rule, m.protocol_id,
        min({
            smaller: -m.n, worse: -coalesce(m.value, '-inf'::DOUBLE), denser: -v.sparsity, variant_id: m.variant_id
        }) AS best
    FROM metrics AS m
    JOIN variant_descriptions AS v ON v.variant_id = m.variant_id
    WHERE m.profile = 'corrected' AND m.split = 'dev' AND m.metric = 'accuracy' AND v.sparsity > 0
    GROUP BY ALL
),
tested AS (
    SELECT
        m.variant_id, m.task, m.language, m.scoring_rule, m.protocol_id, m.value, m.ci_low, m.ci_high, m.dense_value,
        coalesce(g.difference, m.value - m.dense_value) AS difference,
        g.ci_low AS difference_ci_low,
        g.ci_high AS difference_ci_high,
        g.p_value,
        g.p_holm
    FROM measured AS m
    SEMI JOIN chosen AS c ON c.best.variant_id = m.variant_id
    ANTI JOIN outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
    LEFT JOIN comparisons_to_dense AS g
        ON g.evaluation_id = m.evaluation_id AND g.metric = m.metric AND g.split = 'test' AND g.metric = 'accuracy'
    WHERE m.split = 'test' AND m.metric = 'accuracy'
)
SELECT
    c.base_model_id,
    c.task,
    c.language,
    c.metric,
    c.scoring_rule,
    c.protocol_id,
    v.variant_id,
    v.label,
    v.score,
    v.structure,
    v.propagation,
    v.set_kind,
    v.source_language,
    v.target_language,
    v.demonstration_label,
    v.settings,
    v.sparsity,
    nullif(-c.best.worse, '-inf'::DOUBLE) AS dev_value,
    t.value AS test_value,
    t.ci_low AS test_ci_low,
    t.ci_high AS test_ci_high,
    t.dense_value,
    t.difference,
    t.difference_ci_low,
    t.difference_ci_high,
    t.p_value,
    t.p_holm,
    e.difference AS english_difference,
    e.difference_ci_low AS english_ci_low,
    e.difference_ci_high AS english_ci_high,
    e.p_value AS english_p_value
FROM chosen AS c
JOIN variant_descriptions AS v ON v.variant_id = c.best.variant_id
LEFT JOIN tested AS t
    ON t.variant_id = v.variant_id AND t.task = c.task AND t.language = c.language
    AND t.scoring_rule IS NOT DISTINCT FROM c.scoring_rule
    AND t.protocol_id = c.protocol_id
LEFT JOIN tested AS e
    ON e.variant_id = v.variant_id AND e.task = c.task AND e.language = 'en'
    AND e.scoring_rule IS NOT DISTINCT FROM c.scoring_rule
    AND e.protocol_id = c.protocol_id;
-- dev_value: accuracy on dev, by which the variant was chosen
-- test_value: accuracy on test
-- test_ci_low: lower end of its 95 % bootstrap interval
-- test_ci_high: upper end of its 95 % bootstrap interval
-- dense_value: the dense model's accuracy on test
-- difference_ci_low: lower end of the 95 % paired bootstrap interval of difference
-- difference_ci_high: upper end of the 95 % paired bootstrap interval of difference
-- english_difference: change in English on test: the variant's value minus the dense model's
-- english_ci_low: lower end of the 95 % paired bootstrap interval of english_difference
-- english_ci_high: upper end of the 95 % paired bootstrap interval of english_difference
-- english_p_value: two-sided p-value of english_difference
-- p_holm: p_value after Holm's correction over the languages of one comparison and metric
