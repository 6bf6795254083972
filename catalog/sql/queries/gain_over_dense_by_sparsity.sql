-- gain_over_dense_by_sparsity: one row per method, sparsity and group: the paired difference from dense outside English,
-- in the worst language and in English, each with its interval and test. Variants of a row differ in nothing but seeds.
-- worst is the variant's lowest value minus the dense model's lowest. See english_cost for estimate.
-- topic: values
-- first: score, demonstration_label, sparsity, language_group, difference, p_corrected
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $sparsity DOUBLE = NULL
SELECT
    d.score, d.structure, d.propagation, d.set_kind, d.demonstration_label, d.settings, d.sparsity,
    CASE d.group_kind WHEN 'language' THEN 'english' ELSE d.group_kind END AS language_group,
    d.difference, d.ci_low, d.ci_high, d.p_value, d.p_corrected, d.n_family, d.detectable_difference,
    d.value, d.dense_value, d.languages, d.n_items, d.n_clusters, d.n_variants, d.estimate, d.shots, d.samples, d.scale,
    d.scoring_rule, d.example_limit, q.protocol, d.method_id, d.base_model_id
FROM internal.method_differences AS d
LEFT JOIN internal.protocols AS q ON q.protocol_id = d.protocol_id
WHERE d.task = $task AND d.metric = $metric AND d.split = $split
    AND (d.group_kind IN ('outside_english', 'worst') OR d.group_name = 'en')
    AND ($sparsity::DOUBLE IS NULL OR d.sparsity = $sparsity::DOUBLE)
ORDER BY
    d.base_model_id, d.score, d.structure, d.propagation, d.set_kind DESC, d.demonstration_label, d.settings NULLS FIRST,
    d.shots, d.samples, d.scoring_rule, q.protocol NULLS FIRST, d.example_limit, d.sparsity, d.variant_ids, language_group DESC;
