-- best_on_dev: one row per base model, task, metric and way of evaluating, and variant among the five that are best on
-- dev, while a run proceeds: by the mean over the languages other than English, or over all if English is the only one.
-- Only variants that are evaluated in all of the languages count; n_variants is their number. dense_value is the mean of
-- the dense model in the same languages. Values on dev are for choices, never for reports.
WITH means AS (
    SELECT
        v.base_model_id, m.task, m.metric, m.scoring_rule, m.protocol_id, m.example_limit, m.variant_id, v.label,
        v.is_dense, v.intervention, v.sparsity, bool_and(m.higher_is_better) AS higher_is_better,
        count(*) AS n_languages,
        coalesce(
            avg(CASE WHEN m.metric = 'perplexity' THEN ln(m.value) ELSE m.value END ORDER BY m.language)
                FILTER (WHERE m.language <> 'en'),
            avg(CASE WHEN m.metric = 'perplexity' THEN ln(m.value) ELSE m.value END ORDER BY m.language)
        ) AS mean
    FROM metrics AS m
    JOIN internal.variant_descriptions AS v ON v.variant_id = m.variant_id
    ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
    WHERE m.split = 'dev' AND m.profile = 'corrected' AND m.metric IN ('accuracy', 'chrf', 'perplexity')
        AND m.value IS NOT NULL
    GROUP BY ALL
),
complete AS (
    SELECT *, CASE WHEN metric = 'perplexity' THEN exp(mean) ELSE mean END AS value
    FROM means
    QUALIFY n_languages = max(n_languages) OVER (
        PARTITION BY base_model_id, task, metric, scoring_rule, protocol_id, example_limit
    )
),
ranked AS (
    SELECT
        *,
        count(*) OVER same AS n_variants,
        row_number() OVER (
            PARTITION BY base_model_id, task, metric, scoring_rule, protocol_id, example_limit
            ORDER BY round(CASE WHEN higher_is_better THEN -value ELSE value END * pow(2.0, 30)), sparsity, variant_id
        ) AS place
    FROM complete
    WHERE NOT is_dense AND intervention IS NULL
    WINDOW same AS (PARTITION BY base_model_id, task, metric, scoring_rule, protocol_id, example_limit)
)
SELECT
    b.name AS base_model, r.task, r.metric, concat_ws(', ', r.scoring_rule, q.protocol) AS scoring_rule,
    r.example_limit, r.n_languages, r.n_variants, r.place, r.label, r.value, d.value AS dense_value, r.variant_id,
    r.base_model_id
FROM ranked AS r
JOIN internal.described_models AS b ON b.base_model_id = r.base_model_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = r.protocol_id
LEFT JOIN complete AS d
    ON d.is_dense AND d.base_model_id = r.base_model_id AND d.task = r.task AND d.metric = r.metric
    AND d.scoring_rule = r.scoring_rule AND d.protocol_id IS NOT DISTINCT FROM r.protocol_id
    AND d.example_limit IS NOT DISTINCT FROM r.example_limit
WHERE r.place <= 5
ORDER BY r.task, r.metric, base_model, r.base_model_id, scoring_rule, r.protocol_id, r.example_limit, r.place;
