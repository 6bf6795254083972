-- routing_entropy_by_language: how evenly each language uses the experts. One row per base model, demonstration set, role
-- of the tokens and block. All entropies are divided by the logarithm of the number of experts: 1 if
-- all experts are used alike, 0 if one expert is. entropy_of_mean is that of the mean over tokens of the router's
-- distribution, mean_entropy the mean over tokens of its entropy, entropy_of_use that of the shares of the tokens that each
-- expert gets. For routers that score by sigmoid, the distribution has the normalised scores. Intervals are over
-- demonstrations. Fewer tokens give lower entropies of the mean and of the use: compare sets of similar n_tokens.
-- topic: model
-- $language VARCHAR = NULL
-- $kind VARCHAR = NULL
-- $seed INTEGER = NULL
SELECT
    e.language, e.block,
    e.entropy_of_mean, e.entropy_of_mean_ci_low, e.entropy_of_mean_ci_high,
    e.mean_entropy, e.mean_entropy_ci_low, e.mean_entropy_ci_high,
    e.entropy_of_use, e.entropy_of_use_ci_low, e.entropy_of_use_ci_high,
    e.n_tokens, e.n_demonstrations, e.n_experts, e.scoring, e.role, s.kind, s.target_language, s.seed,
    m.source AS base_model, r.dtype, e.base_model_id, e.demonstration_set_id, e.routing_entropy_id
FROM routing_entropy AS e
JOIN demonstration_sets AS s ON s.demonstration_set_id = e.demonstration_set_id
LEFT JOIN base_models AS m ON m.base_model_id = e.base_model_id
LEFT JOIN records AS r ON r.kind = 'routing_entropy' AND r.id = e.routing_entropy_id
WHERE
    ($language::VARCHAR IS NULL OR e.language = $language::VARCHAR)
    AND ($kind::VARCHAR IS NULL OR s.kind = $kind::VARCHAR)
    AND ($seed::INTEGER IS NULL OR s.seed = $seed::INTEGER)
ORDER BY base_model, e.base_model_id, r.dtype, e.language <> 'en', e.language, e.routing_entropy_id, e.role, e.block;
