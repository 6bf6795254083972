-- Does the model still translate?
-- chrF of each pair, with the paired difference from dense. Named queries: `translation_quality`,
-- and `perplexity_by_language` for plain text.
SELECT v.label, c.language AS pair, c.dense_value AS dense, c.difference, c.ci_low, c.ci_high, c.p_corrected, c.n_family, c.n_items AS n
FROM against_dense AS c
JOIN described_variants AS v ON v.variant_id = c.variant_id
WHERE c.task = 'translation' AND c.metric = 'chrf' AND c.group_kind = 'language' AND v.method IN ('wanda sw-en', 'magnitude')
ORDER BY v.label, c.language;
