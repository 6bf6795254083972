-- means_outside_english: one row per variant and task: mean accuracy over the languages other than English, the dense
-- model's, and their paired difference with its interval and tests (p_corrected over the n_family tests of the
-- family). The split is test, or dev for a task that was evaluated only on
-- dev. draws says whether intervals are conditional on one draw of demonstrations.
-- minus_english_change = difference - english_difference is the change of the mean of the others minus English; its
-- interval and test are those of the group gap.
-- title: Accuracy outside English and the gap to English
-- anchor: outside-english
-- explanation: One row per variant: its mean accuracy over the languages other than English, dense in the same
-- languages, and the paired difference with a 95 % interval over clusters of items. p is corrected over the tests
-- of the family. Detectable is the true difference that a
-- single test finds with a power of 80 % if the error is as estimated. One draw: the interval is conditional on one draw of demonstrations. The
-- change minus English is the change outside minus the change in English: below 0, English is further ahead. A loss in
-- English also makes it larger. Its interval takes the same items in all languages, and its p is corrected by Holm's
-- method.
-- empty: The store has no test of a variant outside English. An entry under evaluations with split: test and languages
-- in addition to en fills this table.
-- column task: task
-- column label: variant
-- column n_languages: languages
-- column accuracy: accuracy
-- column dense_accuracy: dense
-- column difference: change from dense (95 %) [ci_low, ci_high]
-- column p_corrected: p, corrected
-- column n_family: tests
-- column detectable_difference: detectable
-- column english_difference: change in English (95 %) [english_ci_low, english_ci_high]
-- column minus_english_change: change minus English (95 %) [minus_english_change_ci_low, minus_english_change_ci_high]
-- column minus_english_change_p_corrected: p, corrected (minus English)
-- column draws: draws
SELECT
    m.source AS base_model, v.base_model_id, a.task, a.split, concat_ws(', ', a.scoring_rule, q.protocol) AS scoring_rule,
    a.example_limit, v.label, coalesce(v.score, v.combination) AS score, v.intervention, v.demonstration_label,
    v.sparsity, a.n_languages, a.n_items, a.n_clusters,
    a.value AS accuracy, a.baseline_value AS dense_accuracy, a.difference, a.ci_low, a.ci_high, a.p_value,
    a.p_corrected, a.n_family, a.is_primary, a.detectable_difference,
    CASE
        WHEN d.conditional_on_one_draw THEN 'one draw'
        WHEN d.n_draws > 1 THEN d.n_draws || ' draws'
    END AS draws,
    e.difference AS english_difference, e.ci_low AS english_ci_low, e.ci_high AS english_ci_high,
    a.difference - e.difference AS minus_english_change,
    g.ci_low AS minus_english_change_ci_low, g.ci_high AS minus_english_change_ci_high,
    g.p_corrected AS minus_english_change_p_corrected, a.variant_id
FROM internal.aggregates AS a
JOIN internal.variant_descriptions AS v ON v.variant_id = a.variant_id
JOIN internal.variant_descriptions AS b ON b.variant_id = a.baseline_id AND b.is_dense AND b.base_model_id = v.base_model_id
JOIN base_models AS m ON m.base_model_id = v.base_model_id
JOIN internal.variant_draws AS d ON d.variant_id = a.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = a.protocol_id
LEFT JOIN internal.against_dense AS e
    ON e.variant_id = a.variant_id AND e.task = a.task AND e.split = a.split AND e.metric = a.metric
    AND e.scoring_rule IS NOT DISTINCT FROM a.scoring_rule AND e.example_limit IS NOT DISTINCT FROM a.example_limit
    AND e.protocol_id IS NOT DISTINCT FROM a.protocol_id AND e.group_kind = 'language' AND e.group_name = 'en'
LEFT JOIN internal.aggregates AS g
    ON g.comparison_id = a.comparison_id AND g.metric = a.metric AND g.group_kind = 'gap' AND g.group_name = ''
WHERE a.metric = 'accuracy' AND a.group_kind = 'outside_english'
    AND coalesce(a.profile, 'corrected') = 'corrected'
QUALIFY a.split = max(a.split) OVER (PARTITION BY v.base_model_id, a.task)
ORDER BY
    base_model, v.base_model_id, a.task, scoring_rule, a.example_limit, a.difference DESC, v.sparsity, a.variant_id;
