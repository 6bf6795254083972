-- sensitive_units: what each language loses without a part. One row per language or group of languages and unit (a
-- block, a layer in all blocks, or a layer of one block): what is lost if only this unit is pruned, with its interval.
-- The unit with the largest loss has rank 1. A loss is positive if pruning is worse than dense; for perplexity it is
-- the logarithm of the ratio; of metric divergence, that of the pruned model from dense, in nats. p_max_t corrects
-- p_value over the units; is_needed: the loss is above 0 with p_max_t < 0.05. influence is how much a block turns the
-- hidden states of texts of the language, the mean over demonstration sets. The table sensitivity_agreement has
-- correlations between languages.
-- topic: model
-- $by VARCHAR = 'block'
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'dev'
-- $language VARCHAR = NULL
-- $sparsity DOUBLE = NULL
SELECT
    s.group_kind, s.group_name,
    rank() OVER (PARTITION BY s.sensitivity_id, s.group_kind, s.group_name ORDER BY s.loss DESC) AS rank,
    s.unit, s.block, s.layer, s.loss, s.ci_low, s.ci_high, s.p_value, s.p_max_t,
    s.loss > 0 AND s.p_max_t < 0.05 AS is_needed, i.influence,
    s.sparsity, s.n_weights, s.removed_share, s.scale, s.n_items, s.n_clusters,
    v.score, v.demonstration_label AS demonstrations, s.scoring_rule, s.example_limit, q.protocol,
    v.base_model_id, s.variant_id, s.sensitivity_id
FROM sensitivity AS s
JOIN described_variants AS v ON v.variant_id = s.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = s.protocol_id
LEFT JOIN (
    SELECT
        b.base_model_id, b.block, d.source_language AS language,
        avg(b.influence ORDER BY b.block_influence_id) AS influence
    FROM block_influence AS b
    JOIN demonstration_sets AS d ON d.demonstration_set_id = b.demonstration_set_id
    GROUP BY b.base_model_id, b.block, d.source_language
) AS i
    ON s.unit_kind = 'block' AND s.group_kind = 'language' AND i.base_model_id = v.base_model_id AND i.block = s.block
    AND i.language = s.group_name
WHERE s.unit_kind = $by AND s.task = $task AND s.metric = $metric AND s.split = $split
    AND ($language::VARCHAR IS NULL OR (s.group_kind = 'language' AND s.group_name = $language::VARCHAR))
    AND ($sparsity::DOUBLE IS NULL OR s.sparsity = $sparsity::DOUBLE)
ORDER BY
    v.base_model_id, s.sparsity, s.sensitivity_id, s.group_kind, s.group_name, rank, s.block NULLS FIRST, s.layer;
