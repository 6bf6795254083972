-- Do languages of one script behave alike?
-- Change of accuracy relative to dense in the languages of each script, English excluded. An interval that includes 0 is
-- no sign of equality: compare `detectable`. Named query: `english_bias_by_group`.
SELECT v.label, a.group_name AS script, a.languages, a.difference, a.ci_low, a.ci_high, a.p_corrected, a.n_family,
    a.detectable_difference AS detectable
FROM aggregates AS a
JOIN described_variants AS v ON v.variant_id = a.variant_id
JOIN described_variants AS d ON d.variant_id = a.baseline_id AND d.is_dense
WHERE a.task = 'facts' AND a.split = 'test' AND a.metric = 'accuracy' AND a.group_kind = 'script'
    AND v.label IN ('wanda sw-en 0.4', 'wanda sw-en 0.6')
ORDER BY v.label, a.group_name;
