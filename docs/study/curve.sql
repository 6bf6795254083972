-- curve: one row per text and sparsity: Swahili accuracy on the test half, mean, lowest and highest over the seeds.
SELECT coalesce(nullif(v.demonstration_label, ''), v.score) AS text, m.sparsity,
    avg(m.value) AS accuracy, min(m.value) AS lowest, max(m.value) AS highest, any_value(m.dense_value) AS dense
FROM measured AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
WHERE m.language = 'sw' AND m.split = 'test' AND m.metric = 'accuracy' AND NOT m.is_dense
GROUP BY ALL
ORDER BY text, m.sparsity;
