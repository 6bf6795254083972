-- sparsity_curve_by_language: a language's value at every sparsity. One row per point of a curve, dense at sparsity 0, with
-- its difference from dense and the interval of english_cost. Points over several seeds have no interval of the value. With
-- with_groups, also the mean outside_english and the worst language, whose value is the variant's lowest; without dense.
-- topic: values
-- first: language, score, demonstration_label, sparsity, value, p_corrected, difference
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $language VARCHAR = NULL
-- $sparsity DOUBLE = NULL
-- $with_groups BOOLEAN = false
WITH tested AS (
    SELECT *
    FROM internal.method_differences
    WHERE task = $task AND metric = $metric AND split = $split AND group_kind IN ('language', 'outside_english', 'worst')
),
points AS (
    SELECT
        c.language, c.score, c.structure, c.propagation, c.set_kind, c.source_language, c.target_language,
        c.demonstration_label, c.settings, c.shots, c.samples, c.sparsity, c.value, c.ci_low, c.ci_high,
        d.difference, d.ci_low AS difference_ci_low, d.ci_high AS difference_ci_high, d.p_value, d.p_corrected, d.n_family,
        d.detectable_difference, d.scale, c.n, c.n_variants, d.estimate, d.languages,
        c.scoring_rule, c.example_limit, c.protocol_id, c.base_model_id
    FROM internal.sparsity_curve AS c
    LEFT JOIN tested AS d
        ON d.base_model_id = c.base_model_id AND d.method = c.method AND d.sparsity = c.sparsity AND d.group_name = c.language
        AND d.group_kind = 'language' AND d.sets_made_of IS NOT DISTINCT FROM c.sets_made_of
        AND d.scoring_rule IS NOT DISTINCT FROM c.scoring_rule AND d.example_limit IS NOT DISTINCT FROM c.example_limit
        AND d.protocol_id = c.protocol_id
    WHERE c.task = $task AND c.metric = $metric AND c.split = $split
    UNION ALL BY NAME
    SELECT
        group_kind AS language, score, structure, propagation, set_kind, source_language, target_language,
        demonstration_label, settings, shots, samples, sparsity, value,
        difference, ci_low AS difference_ci_low, ci_high AS difference_ci_high, p_value, p_corrected, n_family,
        detectable_difference, scale, n_items AS n, n_variants, estimate, languages,
        scoring_rule, example_limit, protocol_id, base_model_id
    FROM tested
    WHERE group_kind <> 'language' AND $with_groups
)
SELECT
    c.language, c.score, c.structure, c.propagation, c.set_kind, c.source_language, c.target_language,
    c.demonstration_label, c.settings, c.shots, c.samples, c.sparsity, c.value, c.ci_low, c.ci_high,
    c.difference, c.difference_ci_low, c.difference_ci_high, c.p_value, c.p_corrected, c.n_family,
    c.detectable_difference, c.scale, c.n, c.n_variants, c.estimate, c.languages,
    c.scoring_rule, c.example_limit, q.protocol, c.base_model_id
FROM points AS c
LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
WHERE ($language::VARCHAR IS NULL OR c.language = $language::VARCHAR)
    AND ($sparsity::DOUBLE IS NULL OR c.sparsity = $sparsity::DOUBLE)
ORDER BY ALL;
