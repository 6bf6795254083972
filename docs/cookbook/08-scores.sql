-- Is it better to read demonstrations than to use magnitude or chance?
-- Mean test accuracy outside English, by score and sparsity. Empty cells were not run.
PIVOT (
    SELECT coalesce(v.score, 'dense') AS score, v.sparsity, round(avg(m.value), 3) AS accuracy
    FROM measured AS m
    JOIN described_variants AS v ON v.variant_id = m.variant_id
    WHERE m.task = 'facts' AND m.split = 'test' AND m.metric = 'accuracy' AND m.language <> 'en'
    GROUP BY ALL
) ON sparsity IN (0.0, 0.2, 0.3, 0.4, 0.5, 0.6) USING any_value(accuracy) GROUP BY score
ORDER BY score;
