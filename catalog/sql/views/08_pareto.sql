-- pareto: one row per variant, task and scoring rule: English test accuracy against the mean of the other languages.
-- is_efficient: no variant evaluated in the same languages is at least as good in both and better in one.
CREATE OR REPLACE VIEW pareto AS
WITH balance AS (
    SELECT
        base_model_id, variant_id, variant_name, sparsity, is_dense, task, scoring_rule, example_limit, setup,
        any_value(value) FILTER (WHERE language = 'en') AS english_value,
        avg(value) FILTER (WHERE language <> 'en') AS others_value,
        count(*) FILTER (WHERE language <> 'en') AS n_others,
        string_agg(language, ' ' ORDER BY language) AS languages
    FROM measured
    WHERE split = 'test' AND metric = 'accuracy'
    GROUP BY ALL
    HAVING english_value IS NOT NULL AND others_value IS NOT NULL
)
SELECT
    b.*,
    NOT EXISTS (
        SELECT 1 FROM balance AS o
        WHERE o.base_model_id = b.base_model_id
            AND o.task = b.task
            AND o.languages = b.languages
            AND o.scoring_rule IS NOT DISTINCT FROM b.scoring_rule
            AND o.example_limit IS NOT DISTINCT FROM b.example_limit
            AND o.setup IS NOT DISTINCT FROM b.setup
            AND o.english_value >= b.english_value
            AND o.others_value >= b.others_value
            AND (o.english_value > b.english_value OR o.others_value > b.others_value)
    ) AS is_efficient
FROM balance AS b;
