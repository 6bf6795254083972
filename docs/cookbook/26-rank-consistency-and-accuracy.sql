-- Does consistency with English fall where accuracy falls?
-- Both changes relative to dense, with their p-values for single tests. Named query: `rank_consistency_to_english`.
SELECT v.label, r.language, r.difference AS rankc_change, r.difference_ci_low AS rankc_low,
    r.difference_ci_high AS rankc_high, r.p_value AS rankc_p, c.difference AS accuracy_change, c.p_value AS accuracy_p,
    r.n_items AS items
FROM rank_consistency AS r
JOIN against_dense AS c ON c.evaluation_id = r.evaluation_id AND c.metric = 'accuracy'
JOIN described_variants AS v ON v.variant_id = r.variant_id
WHERE r.task = 'facts' AND r.split = 'test' AND r.reference_language = 'en' AND v.label = 'wanda sw-en 0.4'
ORDER BY accuracy_change;
