-- Which gains are significant when all comparisons are counted?
-- The best of several hundred comparisons looks good by chance alone. This applies Holm's correction to all of them
-- and shows the five gains with the smallest p-values. Named query: `significant_gains`.
SELECT v.label, c.language, round(c.difference, 3) AS gain, round(c.p_value, 3) AS p_value, round(c.p_holm, 3) AS p_holm,
    c.n_family
FROM changes_to_dense AS c
JOIN described_variants AS v ON v.variant_id = c.variant_id
WHERE c.task = 'facts' AND c.split = 'test' AND c.metric = 'accuracy' AND c.change = 'gain'
ORDER BY c.p_value, c.evaluation_id
LIMIT 5;
