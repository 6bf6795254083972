-- chosen_on_dev: one row per base model, language, scoring rule and protocol: the variant with the best value on dev,
-- its value on test, and the optimism of a choice on test. The choice is over sparsity, score and scope together.
-- optimism is the best value on test minus the value of the variant chosen on dev: never report the best value on test.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
WITH values_of AS (
    SELECT
        v.base_model_id, m.*, CASE WHEN m.higher_is_better THEN m.value ELSE -m.value END AS goodness
    FROM metrics AS m
    JOIN described_variants AS v ON v.variant_id = m.variant_id
    ANTI JOIN outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
    WHERE m.profile = 'corrected' AND m.task = $task AND m.metric = $metric AND v.sparsity > 0 AND m.value IS NOT NULL
),
on_dev AS (
    SELECT
        m.base_model_id, m.language, m.scoring_rule, m.protocol_id,
        min({worse: -m.goodness, denser: -v.sparsity, variant_id: m.variant_id, evaluation_id: m.evaluation_id}) AS best
    FROM values_of AS m
    JOIN described_variants AS v ON v.variant_id = m.variant_id
    WHERE m.split = 'dev'
    GROUP BY ALL
),
on_test AS (
    SELECT base_model_id, language, scoring_rule, protocol_id, max(goodness) AS best_goodness
    FROM values_of
    WHERE split = 'test'
    GROUP BY ALL
)
SELECT
    d.language, v.label, e.value AS dev_value, t.value AS test_value, t.ci_low, t.ci_high, t.dense_value,
    b.best_goodness - CASE WHEN t.higher_is_better THEN t.value ELSE -t.value END AS optimism,
    e.n AS dev_n, t.n AS test_n, v.score, v.sparsity, v.propagation, v.structure, v.scope, v.settings,
    e.metric, d.scoring_rule, q.protocol, v.variant_id, e.evaluation_id AS dev_evaluation_id,
    t.evaluation_id AS test_evaluation_id, d.base_model_id
FROM on_dev AS d
JOIN described_variants AS v ON v.variant_id = d.best.variant_id
LEFT JOIN protocols AS q ON q.protocol_id = d.protocol_id
JOIN metrics AS e
    ON e.evaluation_id = d.best.evaluation_id AND e.metric = $metric AND e.task = $task AND e.split = 'dev'
LEFT JOIN (
    SELECT m.*
    FROM measured AS m
    SEMI JOIN on_dev AS d ON d.best.variant_id = m.variant_id
    ANTI JOIN outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
    WHERE m.task = $task AND m.metric = $metric AND m.split = 'test' AND m.value IS NOT NULL
) AS t
    ON t.variant_id = v.variant_id AND t.language = d.language
    AND t.scoring_rule IS NOT DISTINCT FROM d.scoring_rule AND t.protocol_id = d.protocol_id
LEFT JOIN on_test AS b
    ON b.base_model_id = d.base_model_id AND b.language = d.language
    AND b.scoring_rule IS NOT DISTINCT FROM d.scoring_rule AND b.protocol_id = d.protocol_id
ORDER BY d.base_model_id, d.scoring_rule, q.protocol NULLS FIRST, d.language;
