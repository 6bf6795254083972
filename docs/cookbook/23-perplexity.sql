-- How much worse does the model predict plain text, and does it lose facts there too?
-- Perplexity relative to the dense model (1 is unchanged) with its 95 % interval, and the change of accuracy on facts of
-- the same variant and language. Named query: `perplexity_by_language`.
SELECT v.label, p.language, exp(p.difference) AS ratio, exp(p.ci_low) AS ratio_low, exp(p.ci_high) AS ratio_high,
    p.p_corrected, p.n_items AS n, f.difference AS accuracy_change, f.p_corrected AS accuracy_p_corrected
FROM against_dense AS p
JOIN against_dense AS f
    ON f.variant_id = p.variant_id AND f.language = p.language
    AND f.task = 'facts' AND f.split = 'test' AND f.metric = 'accuracy'
JOIN described_variants AS v ON v.variant_id = p.variant_id
WHERE p.task = 'perplexity' AND v.label IN ('wanda sw-en 0.2', 'wanda sw-en 0.6')
ORDER BY v.label, p.language;
