-- Is it better to read demonstrations than to remove weights at random?
-- The recipe has `against: [monolingual, random]`: both variants have the same sparsity and answer the same items. The
-- mean outside English. Named query: `demonstrations_compared`.
SELECT v.label, b.label AS against, a.difference, a.ci_low, a.ci_high, a.p_corrected, a.n_family, a.n_items AS items
FROM aggregates AS a
JOIN described_variants AS v ON v.variant_id = a.variant_id
JOIN described_variants AS b ON b.variant_id = a.baseline_id AND b.score = 'random'
WHERE a.task = 'facts' AND a.split = 'test' AND a.metric = 'accuracy' AND a.group_kind = 'outside_english'
ORDER BY v.label, b.label;
