-- values_by_variant: one row per base model, variant and language: a metric under one scoring rule and protocol. If
-- there are evaluations of several sizes, the largest one is used. Without a protocol it is the default one, on halves
-- that are split by clusters if there are any.
-- topic: values
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $scoring_rule VARCHAR = NULL
-- $protocol_id VARCHAR = NULL
-- $profile VARCHAR = 'corrected'
SELECT
    v.label, m.language, m.value, m.ci_low, m.ci_high, m.n, v.sparsity, v.is_dense, m.task, m.split, m.metric,
    m.scoring_rule, m.profile, m.protocol_id, m.variant_id, m.evaluation_id, v.base_model_id
FROM metrics AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
WHERE m.task = $task AND m.metric = $metric AND m.split = $split
    AND CASE
        WHEN $scoring_rule::VARCHAR IS NOT NULL THEN m.scoring_rule = $scoring_rule::VARCHAR
        ELSE m.scoring_rule = 'mean' OR m.task IN ('translation', 'perplexity')
    END
    AND CASE
        WHEN $protocol_id::VARCHAR IS NOT NULL THEN m.protocol_id = $protocol_id::VARCHAR
        ELSE coalesce(q.protocol, '')
            = concat_ws(', ', CASE WHEN $profile = 'paper' THEN 'paper profile' END, 'split by ' || q.split_by)
    END
QUALIFY $protocol_id::VARCHAR IS NOT NULL
    OR dense_rank() OVER (PARTITION BY v.base_model_id ORDER BY q.split_by NULLS LAST) = 1
ORDER BY v.base_model_id, v.sparsity, m.variant_id, m.language;
