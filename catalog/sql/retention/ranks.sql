-- ranks: one row per pruned variant and setting with a value on dev: its rank among the variants that were evaluated in
-- the same way, in the same languages and on the same number of examples. The value is the mean over languages; for
-- perplexity, the geometric mean. Equal values have the same rank.
-- $metric VARCHAR
-- $tasks VARCHAR[]: only these; all if empty
-- $language VARCHAR = NULL
WITH by_setting AS (
    SELECT
        m.variant_id, v.base_model_id, m.task, m.scoring_rule, m.protocol_id, m.profile, m.example_limit,
        string_agg(m.language, ' ' ORDER BY m.language, m.evaluation_id) AS languages,
        bool_and(m.higher_is_better) AS higher_is_better,
        round(  -- the order in which values are added changes the last digits
            CASE WHEN m.metric = 'perplexity' THEN exp(avg(ln(m.value))) ELSE avg(m.value) END, 12
        ) AS dev_value
    FROM metrics AS m
    JOIN internal.variant_descriptions AS v ON v.variant_id = m.variant_id
    WHERE
        m.split = 'dev' AND m.metric = $metric AND NOT v.is_dense
        AND (len($tasks::VARCHAR[]) = 0 OR list_contains($tasks::VARCHAR[], m.task)) AND ($language IS NULL OR m.language = $language)
    GROUP BY
        m.variant_id, v.base_model_id, m.task, m.scoring_rule, m.protocol_id, m.profile, m.example_limit, m.metric
)
SELECT
    variant_id, task, languages, dev_value,
    rank() OVER of_setting AS position,
    count(*) OVER (
        PARTITION BY base_model_id, task, scoring_rule, protocol_id, profile, example_limit, languages
    ) AS n_variants
FROM by_setting
WINDOW of_setting AS (
    PARTITION BY base_model_id, task, scoring_rule, protocol_id, profile, example_limit, languages
    ORDER BY isnan(dev_value), CASE WHEN higher_is_better IS FALSE THEN dev_value ELSE -dev_value END
)
ORDER BY position, task, languages, variant_id;
