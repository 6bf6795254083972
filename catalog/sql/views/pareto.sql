-- pareto: one row per variant, task and scoring rule: English test accuracy and the mean over the other languages.
-- is_efficient is true if no variant evaluated in the same languages is at least as good in both and better in one.
CREATE OR REPLACE VIEW pareto AS
WITH balance AS (
    SELECT
        v.base_model_id, m.variant_id, v.label, v.sparsity, v.is_dense, m.task, m.scoring_rule,
        m.example_limit, m.protocol_id,
        any_value(m.value) FILTER (WHERE m.language = 'en') AS english_value,
        list_avg(list_sort(list(m.value) FILTER (WHERE m.language <> 'en'))) AS others_value,
        count(*) FILTER (WHERE m.language <> 'en') AS n_others,
        array_to_string(list_sort(list(m.language)), ' ') AS languages
    FROM metrics AS m
    JOIN variant_descriptions AS v ON v.variant_id = m.variant_id
    WHERE m.profile = 'corrected' AND m.split = 'test' AND m.metric = 'accuracy'
    GROUP BY ALL
    HAVING english_value IS NOT NULL AND others_value IS NOT NULL
)
SELECT
    *,
    others_value >= max(others_value) OVER (
        PARTITION BY base_model_id, task, languages, scoring_rule, example_limit, protocol_id, english_value
    )
    AND others_value > coalesce(max(others_value) OVER (
        PARTITION BY base_model_id, task, languages, scoring_rule, example_limit, protocol_id ORDER BY english_value DESC
        GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ), '-inf'::DOUBLE) AS is_efficient
FROM balance;
-- english_value: test accuracy in English
-- others_value: mean test accuracy over the other languages
-- n_others: number of other languages
-- languages: all languages, separated by blanks
-- is_efficient: whether no variant evaluated in the same languages is at least as good in both and better in one
