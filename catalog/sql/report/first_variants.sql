-- first_variants: one row per method with its demonstrations, sparsity and group of languages (outside_english or en) of the
-- variants that the declared questions about a task and metric name, as variants or as baselines: those of the primary
-- questions if there are any. value, low and high are those of method_differences with the 95 % interval: of a single
-- variant, or over its seeds. value is accuracy or chrF, or for perplexity the ratio to dense. n_questions counts the
-- questions that name the method.
-- $base_model_id VARCHAR
-- $task VARCHAR
-- $split VARCHAR
-- $metric VARCHAR
-- $scoring_rule VARCHAR
-- $protocol VARCHAR
-- $example_limit BIGINT
WITH named AS (
    SELECT q.question_id, unnest([v.variant_id, v.baseline_id]) AS variant_id
    FROM (
        SELECT question_id
        FROM questions
        WHERE is_declared AND task = $task AND metric = $metric
        QUALIFY is_primary = max(is_primary) OVER ()
    ) AS q
    JOIN question_variants AS v ON v.question_id = q.question_id
),
measured AS (
    SELECT
        *,
        (
            SELECT count(DISTINCT n.question_id) FROM named AS n WHERE list_contains(d.variant_ids, n.variant_id)
        ) AS n_questions
    FROM internal.method_differences AS d
    WHERE d.base_model_id = $base_model_id AND d.task = $task AND d.split = $split AND d.metric = $metric
        AND d.scoring_rule IS NOT DISTINCT FROM $scoring_rule AND d.example_limit IS NOT DISTINCT FROM $example_limit
        AND (d.group_kind = 'outside_english' OR (d.group_kind = 'language' AND d.group_name = 'en'))
)
SELECT
    b.name AS base_model, m.task, m.split, m.metric, m.scale,
    CASE m.group_kind WHEN 'language' THEN m.group_name ELSE m.group_kind END AS language,
    m.method, m.score, m.set_kind, m.propagation, m.structure, m.settings, m.intervention, m.demonstration_label,
    coalesce(m.sparsity, 0) AS sparsity, m.n_variants, m.n_questions, m.difference, m.n_items, m.estimate,
    CASE m.scale WHEN 'log_ratio' THEN 1 ELSE m.dense_value END AS dense_value,
    CASE m.scale WHEN 'log_ratio' THEN exp(m.difference) ELSE m.dense_value + m.difference END AS value,
    CASE m.scale WHEN 'log_ratio' THEN exp(m.ci_low) ELSE m.dense_value + m.ci_low END AS low,
    CASE m.scale WHEN 'log_ratio' THEN exp(m.ci_high) ELSE m.dense_value + m.ci_high END AS high
FROM measured AS m
JOIN internal.described_models AS b ON b.base_model_id = m.base_model_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
WHERE m.n_questions > 0 AND q.protocol IS NOT DISTINCT FROM $protocol
ORDER BY
    language DESC, n_questions DESC, m.settings NULLS FIRST, m.score DESC NULLS FIRST, m.set_kind DESC, m.propagation DESC,
    m.structure, m.method, sparsity;
