-- Which gains in a single language are significant, and which could have been?
-- The five gains with the smallest p-values. With `n_family` tests, a gain below `smallest_significant` cannot pass the
-- first test of Holm's correction, even if no item is lost, and `detectable_difference` is found in 80 % of experiments.
-- Named queries: `significant_gains`, `significant_changes`.
SELECT v.label, c.language, c.difference, c.p_value, c.p_corrected, c.n_gained AS gained, c.n_lost AS lost, c.n_items AS n, c.n_family,
    c.smallest_significant, c.detectable_difference
FROM against_dense AS c
JOIN described_variants AS v ON v.variant_id = c.variant_id
WHERE c.task = 'facts' AND c.split = 'test' AND c.metric = 'accuracy' AND c.change = 'gain'
    AND c.group_kind = 'language'
ORDER BY c.p_value, c.evaluation_id
LIMIT 5;
