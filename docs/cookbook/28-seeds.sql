-- How much does a number vary with the seed alone?
-- Random pruning with three seeds. `sd_seed` is the standard deviation over seeds with its interval, which three seeds leave
-- wide; the interval of the mean is for other seeds and other items. Named query: `seed_variance`.
SELECT v.sparsity, s.group_name AS language, s.n_seeds AS seeds, s.difference, s.ci_low, s.ci_high, s.sd_seed,
    s.sd_seed_ci_low, s.sd_seed_ci_high, s.seed_share, s.n_items AS items
FROM seed_components AS s
JOIN described_variants AS v ON v.variant_id = s.variant_id
WHERE s.task = 'facts' AND s.split = 'test' AND s.metric = 'accuracy' AND v.sparsity = 0.2
ORDER BY s.group_kind, s.group_name;
