-- breaking_sparsity_by_language: where a language falls below dense. One row per method and language: between which
-- sparsities (last_not_below excluded, first_below included) the method falls significantly below dense, the difference
-- there, and what could be detected at last_not_below. first_below is empty if no evaluated sparsity is below.
-- topic: values
-- first: method, language, last_not_below, first_below, p_corrected
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
SELECT
    b.method, b.language, b.last_not_below, b.first_below, b.difference, b.p_corrected, b.detectable_difference,
    b.sparsities, b.n_not_below_after, b.n_variants, b.n, b.n_family, b.shots, b.samples, b.settings, b.scoring_rule,
    b.example_limit, q.protocol, m.source AS base_model, b.base_model_id
FROM internal.breaking_sparsity AS b
JOIN base_models AS m ON m.base_model_id = b.base_model_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = b.protocol_id
WHERE b.task = $task AND b.metric = $metric AND b.split = $split
ORDER BY
    base_model, b.base_model_id, b.language <> 'en', b.language, coalesce(b.first_below, 1) DESC,
    b.last_not_below DESC, b.method, b.settings NULLS FIRST, b.shots, b.samples, b.scoring_rule, q.protocol NULLS FIRST,
    b.example_limit;
