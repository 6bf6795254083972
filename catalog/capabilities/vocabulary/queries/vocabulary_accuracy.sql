-- vocabulary_accuracy: one row per variant with a smaller vocabulary, language, scoring rule and protocol: what the language
-- pays in an evaluated task. Kept languages come before dropped ones; is_kept is empty for the tokens of an adopted
-- checkpoint, whose languages are unknown. The difference is the variant minus the dense model, on the same examples;
-- scale says if it is a logarithm of a ratio. p_corrected is corrected over the family of the comparison.
-- vocabulary_cost has the cost in perplexity and tokens.
-- topic: model
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $language VARCHAR = NULL
SELECT
    coalesce(n.names, d.label) AS variant,
    d.language,
    CASE WHEN d.variant_id IN (SELECT variant_id FROM tokenizations) THEN
        (d.variant_id, d.language) IN (SELECT (variant_id, language) FROM tokenizations WHERE is_kept)
    END AS is_kept,
    d.dense_value, d.value, d.difference, d.ci_low, d.ci_high, d.p_value, d.p_corrected, d.n_family,
    d.n_gained, d.n_lost, d.n_items AS n, d.n_clusters, d.detectable_difference, d.chance, d.dense_limit,
    c.n_kept AS n_tokens,
    c.n_removed_weights / c.n_weights AS removed_weights,
    d.scale, d.scoring_rule, d.example_limit, q.protocol, d.base_model_id, d.variant_id, d.evaluation_id,
    d.baseline_evaluation_id
FROM internal.against_dense AS d
JOIN vocabularies AS c ON c.variant_id = d.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = d.protocol_id
LEFT JOIN (
    SELECT id, string_agg(DISTINCT name, ', ' ORDER BY name) AS names FROM names WHERE kind = 'variant' GROUP BY id
) AS n ON n.id = d.variant_id
WHERE d.group_kind = 'language' AND d.task = $task AND d.metric = $metric AND d.split = $split
    AND ($language::VARCHAR IS NULL OR d.language = $language::VARCHAR)
ORDER BY
    d.base_model_id, variant, d.variant_id, d.scoring_rule, q.protocol NULLS FIRST, is_kept DESC, d.language,
    d.evaluation_id;
