-- demonstrations_compared: one row per pair of variants: outside English on test, translation demonstrations compared at
-- equal sparsity with monolingual demonstrations of the same source language, with the same pair's sentences without the
-- pairing (paired: false) and with random pruning. Both sides have the same removes, schedule, scope and profile.
-- Demonstrations are also read in the same way (tokens, number, bootstrap, budget). Differences are means over the
-- languages, with interval, and p_corrected is corrected over the family. For one test of the mean over all pairs,
-- declare a question with over: mean (see answers_to_questions).
-- topic: methods
-- first: label, baseline_label, difference, p_corrected
-- $task VARCHAR = 'facts'
-- $score VARCHAR = 'wanda'
-- $opponent VARCHAR = NULL
-- $metric VARCHAR = 'accuracy'
WITH compared AS (
    SELECT
        c.*,
        ours.label, ours.propagation, ours.settings, ours.sparsity, ours.source_language, ours.target_language,
        ours.base_model_id, other.label AS baseline_label,
        CASE
            WHEN other.score = 'random' THEN 'random'
            WHEN other.set_kind = 'translation' THEN 'unpaired translation'
            ELSE 'monolingual'
        END AS opponent
    FROM internal.aggregates AS c
    JOIN described_variants AS ours ON ours.variant_id = c.variant_id
    JOIN described_variants AS other ON other.variant_id = c.baseline_id
    LEFT JOIN demonstration_sets AS our_set ON our_set.demonstration_set_id = ours.demonstration_set_id
    LEFT JOIN demonstration_sets AS other_set ON other_set.demonstration_set_id = other.demonstration_set_id
    WHERE c.profile = 'corrected'
        AND c.task = $task
        AND c.split = 'test'
        AND c.metric = $metric
        AND c.group_kind = 'outside_english'
        AND ours.score = $score
        AND ours.set_kind = 'translation'
        AND other.base_model_id = ours.base_model_id
        AND other.sparsity = ours.sparsity
        AND other.structure IS NOT DISTINCT FROM ours.structure
        AND ours.combination IS NULL
        AND other.combination IS NULL
        AND other.removes = ours.removes
        AND other.schedule = ours.schedule
        AND other.schedule_parameters IS NOT DISTINCT FROM ours.schedule_parameters
        AND other.scope = ours.scope
        AND other.profile = ours.profile
        AND (ours.propagation IS NULL OR other.propagation IS NULL OR other.propagation = ours.propagation)
        AND (
            other.score = 'random'
            OR other.score = ours.score
            AND (
                other.set_kind = 'monolingual'
                OR other.set_kind = 'translation'
                AND other.target_language = ours.target_language
                AND other_set.paired = false
                AND our_set.paired IS NULL
            )
            AND other.source_language = ours.source_language
            AND other.score_parameters IS NOT DISTINCT FROM ours.score_parameters
            AND other.aggregation_parameters IS NOT DISTINCT FROM ours.aggregation_parameters
            AND other.token_scope = ours.token_scope
            AND other.n_demonstrations IS NOT DISTINCT FROM ours.n_demonstrations
            AND other.resample_seed IS NOT DISTINCT FROM ours.resample_seed
            AND other_set.token_budget IS NOT DISTINCT FROM our_set.token_budget
            AND other_set.chat_template_sha256 IS NOT DISTINCT FROM our_set.chat_template_sha256
            AND other_set.chat_system IS NOT DISTINCT FROM our_set.chat_system
        )
)
SELECT
    c.opponent, c.label, c.baseline_label, c.sparsity, c.propagation, c.settings,
    c.difference, c.ci_low, c.ci_high, c.p_value, c.p_corrected, c.n_family, c.detectable_difference,
    c.value, c.baseline_value, c.languages, c.n_items, c.n_clusters, c.source_language, c.target_language,
    c.conditional_on_one_draw, c.is_primary, c.test_family, c.scale, c.scoring_rule, c.example_limit, q.protocol,
    c.variant_id, c.baseline_id, c.base_model_id
FROM compared AS c
LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
WHERE $opponent::VARCHAR IS NULL OR c.opponent = $opponent::VARCHAR
ORDER BY
    c.base_model_id, c.opponent, c.propagation, c.settings NULLS FIRST, c.sparsity, c.label, c.baseline_label,
    c.scoring_rule, q.protocol NULLS FIRST, c.example_limit, c.comparison_id;
