-- values_by_variant: values of a metric, tested against dense. One row per base model, variant, language, task,
-- split and metric: the value under one scoring rule and evaluation setup, the dense model's value, and the paired
-- difference with its interval and test. For perplexity, ratio is the value divided by that of dense: below 1 the
-- variant predicts better. If there are evaluations of several sizes, the largest one is used. If no setup is
-- given, it is the default one, on halves that are split by clusters if there are any; all_protocols shows every rule
-- and evaluation setup. The pairs of a translation are languages. The profile paper has no differences.
-- topic: values
-- first: label, language, value, difference, p_corrected
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $language VARCHAR = NULL
-- $variant_id VARCHAR = NULL
-- $scoring_rule VARCHAR = NULL
-- $protocol_id VARCHAR = NULL
-- $profile VARCHAR = 'corrected'
-- $all_protocols BOOLEAN = false
SELECT
    v.label, m.language, m.value, m.ci_low, m.ci_high, m.n, v.sparsity, v.is_dense, m.task, m.split, m.metric,
    m.higher_is_better, x.dense_value, d.difference, d.ci_low AS difference_ci_low, d.ci_high AS difference_ci_high,
    CASE d.scale WHEN 'log_ratio' THEN exp(d.difference) END AS ratio,
    CASE d.scale WHEN 'log_ratio' THEN exp(d.ci_low) END AS ratio_ci_low,
    CASE d.scale WHEN 'log_ratio' THEN exp(d.ci_high) END AS ratio_ci_high,
    d.p_value, d.p_corrected, d.n_family, d.detectable_difference, d.scale, m.n_clusters, m.chance, m.limit_reached,
    m.scoring_rule, m.profile, m.example_limit, m.prompt_language, q.protocol, m.protocol_id, m.variant_id, m.evaluation_id,
    v.base_model_id
FROM metrics AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
LEFT JOIN measured AS x ON x.evaluation_id = m.evaluation_id AND x.metric = m.metric
LEFT JOIN internal.against_dense AS d
    ON d.evaluation_id = m.evaluation_id AND d.metric = m.metric AND d.group_kind = 'language'
WHERE ($task::VARCHAR IS NULL OR m.task = $task::VARCHAR)
    AND ($metric::VARCHAR IS NULL OR m.metric = $metric::VARCHAR)
    AND ($split::VARCHAR IS NULL OR m.split = $split::VARCHAR)
    AND ($language::VARCHAR IS NULL OR m.language = $language::VARCHAR)
    AND ($variant_id::VARCHAR IS NULL OR m.variant_id = $variant_id::VARCHAR)
    AND CASE
        WHEN $scoring_rule::VARCHAR IS NOT NULL THEN m.scoring_rule = $scoring_rule::VARCHAR
        ELSE $all_protocols OR m.scoring_rule = 'mean' OR m.task IN ('translation', 'perplexity')
    END
    AND CASE
        WHEN $protocol_id::VARCHAR IS NOT NULL THEN m.protocol_id = $protocol_id::VARCHAR
        WHEN $all_protocols THEN m.profile = $profile
        ELSE coalesce(q.protocol_without_metrics, '')
            = concat_ws(', ', CASE WHEN $profile = 'paper' THEN 'paper profile' END, 'split by ' || q.split_by)
    END
QUALIFY $protocol_id::VARCHAR IS NOT NULL OR $all_protocols
    OR dense_rank() OVER (
        PARTITION BY v.base_model_id, m.task, m.split, m.metric ORDER BY q.split_by NULLS LAST, q.metric_names IS NOT NULL
    ) = 1
ORDER BY
    v.base_model_id, v.sparsity, m.variant_id, m.task, m.split, m.language, m.metric, m.scoring_rule, q.protocol NULLS FIRST,
    m.evaluation_id;
