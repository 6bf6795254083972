-- neuron_effects: one row per variant without neurons (not the random controls), language, scoring rule and protocol: its
-- difference to the dense model, next to the mean of the controls that lack as many random neurons in every block. excess
-- is the difference minus that mean, is_own marks the language whose neurons the variant lacks (action remove) or keeps
-- (action only). scale says if differences are logarithms of ratios. Controls exist for action remove.
-- topic: model
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $of_language VARCHAR = NULL
WITH effects AS (
    SELECT
        c.*, q.protocol,
        v.neurons->>'action' AS action, v.neurons->>'of' AS of_language,
        [v.neurons->>'share', v.neurons->>'quantile'] AS thresholds
    FROM internal.against_dense AS c
    JOIN variants AS v ON v.variant_id = c.variant_id
    LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
    WHERE c.group_kind = 'language' AND c.task = $task AND c.metric = $metric AND c.split = $split
        AND v.neurons IS NOT NULL
        AND ($of_language::VARCHAR IS NULL OR v.neurons->>'of' = $of_language::VARCHAR)
),
controls AS (
    SELECT
        base_model_id, of_language, thresholds, language, scoring_rule, protocol_id,
        avg(difference ORDER BY variant_id) AS control_difference, count(*) AS n_controls
    FROM effects
    WHERE action = 'random'
    GROUP BY base_model_id, of_language, thresholds, language, scoring_rule, protocol_id
)
SELECT
    e.label, e.action, e.of_language, e.language, e.language = e.of_language AS is_own, e.difference, e.ci_low,
    e.ci_high, e.p_value, e.p_corrected, e.n_family, k.control_difference, e.difference - k.control_difference AS excess,
    k.n_controls, e.dense_value, e.n_items AS n, e.n_clusters, e.scale, e.sparsity, e.scoring_rule, e.protocol, e.base_model_id, e.variant_id,
    e.evaluation_id
FROM effects AS e
LEFT JOIN controls AS k
    ON e.action = 'remove' AND k.base_model_id = e.base_model_id AND k.of_language = e.of_language
    AND k.thresholds = e.thresholds AND k.language = e.language AND k.scoring_rule IS NOT DISTINCT FROM e.scoring_rule
    AND k.protocol_id IS NOT DISTINCT FROM e.protocol_id
WHERE e.action <> 'random'
ORDER BY
    e.base_model_id, e.of_language, e.action, e.sparsity, e.label, e.variant_id, e.scoring_rule, e.protocol NULLS FIRST,
    is_own DESC, e.language, e.evaluation_id;
