-- Which losses are significant?
-- The number of comparisons of each method's variants in which a language lost accuracy, after Holm's correction over
-- all comparisons on the test half. Named query: `significant_changes`.
SELECT v.score, v.propagation, v.set_kind, v.sparsity, count(*) AS comparisons,
    count(*) FILTER (WHERE c.p_corrected < 0.05 AND c.outcome = 'worse') AS losses,
    string_agg(DISTINCT c.language, ' ' ORDER BY c.language) FILTER (WHERE c.p_corrected < 0.05 AND c.outcome = 'worse')
        AS languages
FROM differences AS c
JOIN described_variants AS v ON v.variant_id = c.variant_id
WHERE c.task = 'facts' AND c.split = 'test' AND c.metric = 'accuracy' AND c.group_kind = 'language'
    AND c.baseline_is_dense AND c.p_value IS NOT NULL
GROUP BY ALL
HAVING losses > 0
ORDER BY v.score, v.propagation, v.set_kind, v.sparsity;
