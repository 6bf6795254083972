-- chosen_on_dev: one row per base model, language, scoring rule and setup: sparsity, score and scope chosen together as
-- the variant with the best value on dev, what that gives on test, and what choosing on test would have claimed.
-- optimism is that claim minus the honest value: never report it. Of perplexity and ece less is better.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
WITH values_of AS (
    SELECT
        m.*, CASE WHEN m.metric IN ('perplexity', 'ece') THEN -m.value ELSE m.value END AS goodness
    FROM measured AS m
    WHERE m.task = $task AND m.metric = $metric AND m.sparsity > 0 AND m.value IS NOT NULL
    QUALIFY row_number() OVER (
        PARTITION BY variant_id, language, split, scoring_rule, setup ORDER BY n DESC, evaluation_id
    ) = 1
),
on_dev AS (
    SELECT * FROM values_of WHERE split = 'dev'
    QUALIFY row_number() OVER (
        PARTITION BY base_model_id, language, scoring_rule, setup ORDER BY goodness DESC, sparsity DESC, variant_id
    ) = 1
),
on_test AS (
    SELECT *, max(goodness) OVER (PARTITION BY base_model_id, language, scoring_rule, setup) AS best_goodness
    FROM values_of WHERE split = 'test'
)
SELECT
    d.base_model_id, d.language, d.metric, d.scoring_rule, d.setup, d.variant_name, v.score, v.scope, v.structure,
    v.propagation, v.settings, d.sparsity,
    d.value AS dev_value, d.n AS dev_n, t.value AS test_value, t.ci_low, t.ci_high, t.n AS test_n, t.dense_value,
    t.best_goodness - t.goodness AS optimism,
    d.evaluation_id AS dev_evaluation_id, t.evaluation_id AS test_evaluation_id, d.variant_id
FROM on_dev AS d
JOIN described_variants AS v ON v.variant_id = d.variant_id
LEFT JOIN on_test AS t
    ON t.variant_id = d.variant_id AND t.language = d.language
    AND t.scoring_rule IS NOT DISTINCT FROM d.scoring_rule AND t.setup IS NOT DISTINCT FROM d.setup
ORDER BY d.base_model_id, d.scoring_rule, d.setup NULLS FIRST, d.language;
