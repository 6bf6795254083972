-- variants_compared: a variant minus another that it is tested with. One row per language, or group of languages, and pair
-- of variants that a recipe compares (key against): the paired difference with its 95 % interval and its test, corrected
-- over the family of the comparison. For perplexity, ratio is the variant's value divided by the baseline's: below 1 the
-- variant is better. The dense model of a pruned variant is left out: see significant_changes. baseline_kind says what is
-- compared: other model (a dense one), run-time method (on one of the sides), and for demonstrations of translation, if
-- nothing else differs: monolingual (the same source language), unpaired translation (the same sentences) and random (random
-- pruning); else other variant. For one test of a mean over pairs, declare a question with over: mean.
-- topic: answers
-- first: language_group, label, baseline_label, difference, p_corrected
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $group_kind VARCHAR = 'language'
-- $language VARCHAR = NULL
-- $score VARCHAR = NULL
-- $baseline_kind VARCHAR = NULL
WITH compared AS (
    SELECT
        c.*, v.structure, v.score, v.propagation, v.settings, v.intervention, b.intervention AS baseline_intervention,
        b.settings AS baseline_settings, b.base_model_id AS baseline_model_id, v.source_language, v.target_language,
        v.set_kind = 'translation' AND b.base_model_id = v.base_model_id AND b.sparsity = v.sparsity
            AND b.structure IS NOT DISTINCT FROM v.structure
            AND v.combination IS NULL AND b.combination IS NULL
            AND b.removes = v.removes AND b.schedule = v.schedule AND b.scope = v.scope AND b.profile = v.profile
            AND b.schedule_parameters IS NOT DISTINCT FROM v.schedule_parameters
            AND coalesce(b.propagation = v.propagation, true) AS is_pruned_alike,
        b.score = v.score AND b.source_language = v.source_language AND b.token_scope = v.token_scope
            AND b.score_parameters IS NOT DISTINCT FROM v.score_parameters
            AND b.aggregation_parameters IS NOT DISTINCT FROM v.aggregation_parameters
            AND b.n_demonstrations IS NOT DISTINCT FROM v.n_demonstrations
            AND b.resample_seed IS NOT DISTINCT FROM v.resample_seed
            AND row(t.token_budget, t.chat_template_sha256, t.chat_system)
                IS NOT DISTINCT FROM row(s.token_budget, s.chat_template_sha256, s.chat_system) AS is_read_alike,
        CASE
            WHEN b.base_model_id <> v.base_model_id THEN 'other model'
            WHEN v.intervention IS NOT NULL OR b.intervention IS NOT NULL THEN 'run-time method'
            WHEN is_pruned_alike AND b.score = 'random' THEN 'random'
            WHEN is_pruned_alike AND is_read_alike AND b.set_kind = 'monolingual' THEN 'monolingual'
            WHEN is_pruned_alike AND is_read_alike AND b.set_kind = 'translation'
                AND b.target_language = v.target_language AND t.paired = false AND s.paired IS NULL
                THEN 'unpaired translation'
            ELSE 'other variant'
        END AS baseline_kind
    FROM differences AS c
    JOIN described_variants AS v ON v.variant_id = c.variant_id
    JOIN described_variants AS b ON b.variant_id = c.baseline_id
    LEFT JOIN demonstration_sets AS s ON s.demonstration_set_id = v.demonstration_set_id
    LEFT JOIN demonstration_sets AS t ON t.demonstration_set_id = b.demonstration_set_id
    WHERE (NOT c.baseline_is_dense OR v.intervention IS NOT NULL) AND c.task = $task AND c.metric = $metric AND c.split = $split
        AND c.group_kind = $group_kind
)
SELECT
    c.language, coalesce(nullif(c.group_name, ''), c.group_kind) AS language_group, c.baseline_kind, c.sparsity, c.structure,
    c.label, c.baseline_label, c.difference, c.ci_low, c.ci_high,
    CASE c.scale WHEN 'log_ratio' THEN exp(c.difference) END AS ratio,
    CASE c.scale WHEN 'log_ratio' THEN exp(c.ci_low) END AS ratio_ci_low,
    CASE c.scale WHEN 'log_ratio' THEN exp(c.ci_high) END AS ratio_ci_high,
    c.p_value, c.p_corrected, c.n_family, c.outcome, c.detectable_difference, c.value, c.baseline_value, c.n_gained, c.n_lost,
    c.languages, c.n_items AS n, c.n_clusters, c.scale, c.conditional_on_one_draw, c.is_primary, c.test_family,
    c.score, c.source_language, c.target_language, c.propagation, c.settings, c.intervention, c.baseline_intervention,
    c.baseline_settings, m.source AS base_model, n.source AS baseline_base_model, c.scoring_rule, c.example_limit,
    q.protocol, c.variant_id, c.baseline_id, c.evaluation_id, c.baseline_evaluation_id, c.base_model_id
FROM compared AS c
LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
JOIN base_models AS m ON m.base_model_id = c.base_model_id
JOIN base_models AS n ON n.base_model_id = c.baseline_model_id
WHERE ($language::VARCHAR IS NULL OR c.language = $language::VARCHAR)
    AND ($score::VARCHAR IS NULL OR c.score = $score::VARCHAR)
    AND ($baseline_kind::VARCHAR IS NULL OR c.baseline_kind = $baseline_kind::VARCHAR)
ORDER BY
    c.base_model_id, c.baseline_kind, language_group, c.sparsity, c.structure NULLS FIRST, c.label, c.baseline_label,
    c.variant_id, c.baseline_id, c.scoring_rule, q.protocol NULLS FIRST, c.example_limit, c.evaluation_id;
