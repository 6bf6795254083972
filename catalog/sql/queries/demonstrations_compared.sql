-- demonstrations_compared: one row per opponent, propagation and settings: test accuracy outside English of translation
-- demonstrations, compared at equal sparsity with monolingual demonstrations of the same source language, with the same
-- pair's sentences without the pairing (paired: false) and with random pruning. Both sides have the same removes,
-- schedule, scope and profile. Demonstrations are also read in the same way (tokens, number, bootstrap, budget). p_holm
-- is corrected over the families of the comparisons.
-- $task VARCHAR = 'facts'
-- $score VARCHAR = 'wanda'
-- $alpha DOUBLE = 0.05
WITH compared AS (
    SELECT
        c.difference,
        c.p_holm,
        ours.propagation,
        ours.settings,
        CASE
            WHEN other.score = 'random' THEN 'random'
            WHEN other.set_kind = 'translation' THEN 'unpaired translation'
            ELSE 'monolingual'
        END AS opponent,
        row_number() OVER (ORDER BY c.p_value, c.evaluation_id, c.baseline_evaluation_id) AS place
    FROM comparisons AS c
    JOIN described_variants AS ours ON ours.variant_id = c.variant_id
    JOIN described_variants AS other ON other.variant_id = c.baseline_id
    LEFT JOIN demonstration_sets AS our_set ON our_set.demonstration_set_id = ours.demonstration_set_id
    LEFT JOIN demonstration_sets AS other_set ON other_set.demonstration_set_id = other.demonstration_set_id
    WHERE c.profile = 'corrected'
        AND c.task = $task
        AND c.split = 'test'
        AND c.metric = 'accuracy'
        AND c.language <> 'en'
        AND c.p_value IS NOT NULL
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
        )
)
SELECT
    opponent,
    propagation,
    settings,
    count(*) AS n_comparisons,
    avg(difference ORDER BY place) AS mean_difference,
    count(*) FILTER (WHERE difference > 0) AS n_wins,
    count(*) FILTER (WHERE difference < 0) AS n_losses,
    count(*) FILTER (WHERE difference > 0 AND p_holm <= $alpha) AS n_significantly_better,
    count(*) FILTER (WHERE difference < 0 AND p_holm <= $alpha) AS n_significantly_worse,
    min(p_holm) AS smallest_p_holm
FROM compared
GROUP BY opponent, propagation, settings
ORDER BY opponent, propagation, settings NULLS FIRST;
