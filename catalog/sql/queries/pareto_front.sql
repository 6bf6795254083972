-- pareto_front: one row per variant, scoring rule and protocol that no other beats: English test accuracy against the mean
-- of the other languages, of variants evaluated in the same languages. The dense model stands with them if it is one.
-- $task VARCHAR = 'facts'
-- $with_beaten BOOLEAN = false
SELECT
    p.base_model_id, p.label, v.score, v.propagation, v.set_kind, v.source_language, v.settings, p.sparsity,
    p.is_dense, p.english_value, p.others_value, p.n_others, p.languages, p.is_efficient,
    p.scoring_rule, p.example_limit, q.protocol, p.variant_id
FROM pareto AS p
JOIN described_variants AS v ON v.variant_id = p.variant_id
LEFT JOIN protocols AS q ON q.protocol_id = p.protocol_id
WHERE p.task = $task AND (p.is_efficient OR $with_beaten::BOOLEAN)
ORDER BY p.base_model_id, p.scoring_rule, p.languages, p.english_value DESC, p.others_value DESC, p.variant_id;
