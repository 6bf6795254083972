-- How much does a number vary by chance?
-- Random pruning with two seeds: the change of test accuracy caused by the seed alone. A difference between two
-- methods that is not larger than this means nothing. Named query: `seed_variance`.
SELECT v.sparsity, m.language, count(*) AS seeds, round(min(m.value), 3) AS lowest, round(max(m.value), 3) AS highest,
    round(max(m.value) - min(m.value), 3) AS apart
FROM measured AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
WHERE m.task = 'facts' AND m.split = 'test' AND m.metric = 'accuracy' AND v.score = 'random' AND v.sparsity = 0.1
GROUP BY v.sparsity, m.language
ORDER BY apart DESC, m.language;
