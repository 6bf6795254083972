-- What does rounding the weights cost in each language?
-- Each quantised variant against the same masks with unrounded weights: the difference of log perplexity with its
-- interval, above 0 if rounding hurts. Named query: `quantisation_cost`.
SELECT v.bits, v.sparsity, c.language, c.difference, c.ci_low, c.ci_high, c.p_value, c.p_corrected
FROM comparisons AS c
JOIN variant_parents AS p
    ON p.variant_id = c.variant_id AND p.parent_variant_id = c.baseline_id AND p.role = 'unquantised'
JOIN described_variants AS v ON v.variant_id = c.variant_id
WHERE c.metric = 'perplexity' AND c.split = 'test'
ORDER BY v.sparsity, v.bits DESC, c.language;
