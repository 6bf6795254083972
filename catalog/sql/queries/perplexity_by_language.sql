-- perplexity_by_language: one row per variant and language: perplexity on held-out text, and its ratio to dense.
-- $split VARCHAR = 'test'
SELECT
    language, label, sparsity, value AS perplexity, ci_low, ci_high,
    dense_value AS dense_perplexity,
    value / nullif(dense_value, 0) AS ratio, n, variant_id, evaluation_id, base_model_id
FROM measured
WHERE task = 'perplexity' AND metric = 'perplexity' AND split = $split
ORDER BY base_model_id, language, sparsity, label, variant_id;
