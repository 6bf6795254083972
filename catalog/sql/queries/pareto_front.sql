-- pareto_front: variants that trade English for others best. One row per efficient variant, scoring rule and evaluation
-- setup: English and the mean over the other languages on test, with their change from dense. A variant is efficient if
-- on dev no variant evaluated in the same languages is at least as good in both and better in one; the dense model can
-- be one. probability is the share of resamples of dev in which the variant is efficient.
-- topic: answers
-- first: label, others_value, english_difference
-- $task VARCHAR = 'facts'
-- $with_beaten BOOLEAN = false
SELECT
    p.label, p.english_value, p.others_value, p.n_others, p.languages, p.is_efficient, p.probability,
    p.english_difference, p.english_ci_low, p.english_ci_high, p.others_difference, p.others_ci_low, p.others_ci_high,
    p.keeps_both_dev, p.keeps_both_probability, p.keeps_both_test, p.on_front_test, p.is_dense,
    v.score, p.sparsity, v.propagation, v.set_kind, v.source_language, v.settings, p.n_candidates, p.metric,
    p.scoring_rule, p.example_limit, q.protocol, p.variant_id, p.base_model_id
FROM internal.pareto AS p
JOIN described_variants AS v ON v.variant_id = p.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = p.protocol_id
WHERE p.task = $task AND (p.is_efficient OR $with_beaten::BOOLEAN)
ORDER BY
    p.base_model_id, p.scoring_rule, p.languages, p.dev_english_value DESC, p.dev_others_value DESC, p.variant_id;
