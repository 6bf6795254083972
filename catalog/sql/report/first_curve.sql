-- first_curve: one row per method, sparsity and group of languages (outside_english or en) of the curve of page one: mean
-- over the variants of the method, and the mean difference to dense; that of a single variant has its 95 % interval.
-- value is accuracy or chrF, or for perplexity the ratio to dense. The task is one with a primary question, else one with
-- accuracy, else the one with most results; chance is the mean over the languages other than English. Run-time baselines
-- are excluded.
WITH points AS (
    SELECT
        b.name AS base_model, d.base_model_id, d.task, d.split, d.metric, d.scoring_rule, q.protocol, d.example_limit,
        CASE d.group_kind WHEN 'language' THEN d.group_name ELSE d.group_kind END AS language,
        coalesce(v.score, v.combination) AS score, v.set_kind, v.propagation, v.structure, v.settings, v.sparsity,
        d.variant_id, d.difference, d.scale, d.ci_low, d.ci_high, d.chance,
        CASE d.metric WHEN 'perplexity' THEN 1 ELSE d.dense_value END AS dense_value
    FROM internal.against_dense AS d
    JOIN described_variants AS v ON v.variant_id = d.variant_id
    JOIN internal.described_models AS b ON b.base_model_id = d.base_model_id
    LEFT JOIN internal.protocols AS q ON q.protocol_id = d.protocol_id
    WHERE d.metric IN ('accuracy', 'chrf', 'perplexity') AND d.difference IS NOT NULL AND v.intervention IS NULL
        AND d.group_kind IN ('language', 'outside_english')
    QUALIFY d.split = max(d.split) OVER (PARTITION BY d.base_model_id, d.task)
),
shown AS (
    SELECT
        base_model_id, task, split, metric, scoring_rule, protocol, example_limit,
        avg(chance ORDER BY variant_id, language) FILTER (language NOT IN ('en', 'outside_english')) AS chance
    FROM points
    GROUP BY ALL
    HAVING count(*) FILTER (language = 'outside_english') > 0
    ORDER BY
        bool_or(task IN (SELECT task FROM questions WHERE is_primary)) DESC, bool_or(metric <> 'accuracy'),
        count(*) FILTER (language = 'outside_english') DESC,
        base_model_id, task, metric, scoring_rule, protocol, example_limit
    LIMIT 1
),
means AS (
    SELECT
        p.base_model, p.base_model_id, p.task, p.split, p.metric, p.scoring_rule, p.protocol, p.example_limit, p.language,
        p.scale,
        p.score, p.set_kind, p.propagation, p.structure, p.settings, p.sparsity,
        count(DISTINCT p.variant_id) AS n_variants,
        avg(p.dense_value ORDER BY p.variant_id) AS dense_value,
        avg(p.difference ORDER BY p.variant_id) AS difference,
        CASE WHEN count(DISTINCT p.variant_id) = 1 THEN min(p.ci_low) END AS ci_low,
        CASE WHEN count(DISTINCT p.variant_id) = 1 THEN min(p.ci_high) END AS ci_high,
        any_value(s.chance) AS chance
    FROM points AS p
    JOIN shown AS s
        ON s.base_model_id = p.base_model_id AND s.task = p.task AND s.split = p.split AND s.metric = p.metric
        AND s.scoring_rule IS NOT DISTINCT FROM p.scoring_rule AND s.protocol IS NOT DISTINCT FROM p.protocol
        AND s.example_limit IS NOT DISTINCT FROM p.example_limit
    WHERE p.language IN ('en', 'outside_english')
    GROUP BY ALL
)
SELECT
    *,
    CASE scale WHEN 'log_ratio' THEN exp(difference) ELSE dense_value + difference END AS value,
    CASE scale WHEN 'log_ratio' THEN exp(ci_low) ELSE dense_value + ci_low END AS low,
    CASE scale WHEN 'log_ratio' THEN exp(ci_high) ELSE dense_value + ci_high END AS high
FROM means
ORDER BY
    language DESC, settings NULLS FIRST, score DESC NULLS FIRST, set_kind DESC, propagation DESC, structure, sparsity;
