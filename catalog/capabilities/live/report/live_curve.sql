-- live_curve: one row per method and sparsity, and one for the dense model, while a run proceeds: the mean of a metric over
-- the languages other than English (over all if English is the only one) and over the variants of the method so far. Only
-- variants that are evaluated in all of the languages count. The task is one with accuracy, else the one with most
-- variants; the split is dev if there is one: values on dev are for choices, never for reports.
WITH means AS (
    SELECT
        b.name AS base_model, v.base_model_id, m.task, m.split, m.metric, m.scoring_rule, m.protocol_id, m.example_limit,
        m.variant_id, v.is_dense, v.sparsity,
        coalesce(v.score, v.combination) AS score, v.set_kind, v.propagation, v.structure, v.settings,
        bool_or(m.language <> 'en') AS is_outside,
        coalesce(nullif(count(*) FILTER (m.language <> 'en'), 0), count(*)) AS n_languages,
        coalesce(
            avg(m.value ORDER BY m.language) FILTER (WHERE m.language <> 'en'), avg(m.value ORDER BY m.language)
        ) AS value
    FROM metrics AS m
    JOIN described_variants AS v ON v.variant_id = m.variant_id
    JOIN internal.described_models AS b ON b.base_model_id = v.base_model_id
    ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
    WHERE m.profile = 'corrected' AND m.metric IN ('accuracy', 'chrf', 'perplexity') AND m.value IS NOT NULL
        AND v.intervention IS NULL
    GROUP BY ALL
),
complete AS (
    SELECT *
    FROM means
    QUALIFY n_languages = max(n_languages) OVER (
        PARTITION BY base_model_id, task, split, metric, scoring_rule, protocol_id, example_limit
    )
),
shown AS (
    SELECT
        base_model_id, task, split, metric, scoring_rule, protocol_id, example_limit,
        metric = 'accuracy' AS is_accuracy, split = 'dev' AS is_dev, count(*) AS n_variants
    FROM complete
    WHERE NOT is_dense
    GROUP BY ALL
    ORDER BY is_accuracy DESC, is_dev DESC, n_variants DESC, base_model_id, task, metric, scoring_rule, protocol_id
    LIMIT 1
)
SELECT
    c.base_model, c.task, c.split, c.metric, c.is_dense, c.is_outside, c.n_languages, c.score, c.set_kind, c.propagation,
    c.structure, c.settings, c.sparsity,
    avg(c.value ORDER BY c.variant_id) AS value,
    count(*) AS n_variants
FROM complete AS c
JOIN shown AS s
    ON s.base_model_id = c.base_model_id AND s.task = c.task AND s.split = c.split AND s.metric = c.metric
    AND s.scoring_rule IS NOT DISTINCT FROM c.scoring_rule AND s.protocol_id IS NOT DISTINCT FROM c.protocol_id
    AND s.example_limit IS NOT DISTINCT FROM c.example_limit
GROUP BY ALL
ORDER BY
    c.is_dense DESC, c.settings NULLS FIRST, c.score DESC NULLS FIRST, c.set_kind DESC, c.propagation DESC, c.structure,
    c.sparsity;
