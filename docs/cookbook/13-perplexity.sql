-- How much worse does the model predict plain text?
-- Perplexity on held-out sentences relative to the dense model (1 is unchanged), for wanda with translation
-- demonstrations. Named query: `perplexity_by_language`.
PIVOT (
    SELECT m.language, m.sparsity, round(avg(m.value / m.dense_value), 2) AS ratio
    FROM measured AS m
    JOIN described_variants AS v ON v.variant_id = m.variant_id
    WHERE m.task = 'perplexity' AND v.score = 'wanda'
    GROUP BY m.language, m.sparsity
) ON sparsity IN (0.2, 0.4, 0.6) USING any_value(ratio) GROUP BY language
ORDER BY language;
