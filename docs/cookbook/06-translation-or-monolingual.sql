-- Do translation demonstrations choose better weights than monolingual ones?
-- The recipe has `against: [monolingual, random]`, so variants are compared on the same examples: variant and baseline
-- have equal sparsity and source language. Named query, with Holm's correction: `demonstrations_compared`.
SELECT b.set_kind AS against, v.sparsity, count(*) AS comparisons,
    round(avg(c.difference), 3) AS mean_difference,
    count(*) FILTER (WHERE c.p_value < 0.05 AND c.difference > 0) AS better,
    count(*) FILTER (WHERE c.p_value < 0.05 AND c.difference < 0) AS worse
FROM comparisons AS c
JOIN described_variants AS v ON v.variant_id = c.variant_id
JOIN described_variants AS b ON b.variant_id = c.baseline_id
WHERE c.task = 'facts' AND c.split = 'test' AND c.metric = 'accuracy' AND c.language <> 'en'
    AND v.set_kind = 'translation' AND b.set_kind = 'monolingual'
GROUP BY ALL
ORDER BY v.sparsity;
