-- pareto: one row per variant, task and scoring rule: English test accuracy and the mean over the other evaluated
-- languages. Dense models have no score. is_efficient is true if no variant of the base model that was evaluated in the
-- same languages is at least as good in both and better in one.
SELECT
    b.source AS base_model, p.base_model_id, p.task, 'test' AS split,
    concat_ws(', ', p.scoring_rule, q.protocol) AS scoring_rule, p.example_limit, p.languages,
    coalesce(v.score, v.combination) AS score, v.intervention, v.set_kind, v.propagation, v.structure, v.settings,
    v.demonstration_label, p.sparsity, p.is_dense, p.english_value, p.others_value, p.n_others, p.is_efficient,
    p.label, p.variant_id
FROM pareto AS p
JOIN described_variants AS v ON v.variant_id = p.variant_id
LEFT JOIN protocols AS q ON q.protocol_id = p.protocol_id
JOIN base_models AS b ON b.base_model_id = p.base_model_id
ORDER BY
    p.task, scoring_rule, p.example_limit, p.languages, base_model, p.base_model_id, score DESC NULLS FIRST,
    v.intervention, v.set_kind DESC, v.propagation DESC, v.structure, v.settings NULLS FIRST, v.demonstration_label,
    p.sparsity, p.variant_id;
