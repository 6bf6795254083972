-- Which variants keep the worst language best?
-- The accuracy of a variant's worst language, minus that of the dense model's worst language. The five best of those that
-- remove at least 30 %: each is compared with dense, not with the others. Named query for gaps to English: `english_bias`.
SELECT v.label, a.worst_language, a.value, a.baseline_value, a.difference, a.ci_low, a.ci_high, a.p_value, a.p_corrected,
    a.n_family
FROM internal.aggregates AS a
JOIN described_variants AS v ON v.variant_id = a.variant_id
JOIN described_variants AS d ON d.variant_id = a.baseline_id AND d.is_dense
WHERE a.task = 'facts' AND a.split = 'test' AND a.metric = 'accuracy' AND a.group_kind = 'worst' AND v.sparsity >= 0.3
ORDER BY a.difference DESC, v.label
LIMIT 5;
