-- What does pruning cost in English?
-- English loses at most `loss_at_most`: the end of the one-sided 95 % interval, which is above 0 even if no answer is
-- lost; it is that of a single test. `verdict` yes: less than the declared margin, after correction
-- ([protocol](../protocol.md#verdicts)). Named query: `english_cost`.
SELECT a.label, a.difference, greatest(0, -a.ci90_low) AS loss_at_most, a.margin, a.p_margin_corrected,
    a.verdict, a.n_items AS items
FROM answers AS a
JOIN described_variants AS v ON v.variant_id = a.variant_id
WHERE a.claim = 'noninferior' AND a.languages = 'en' AND v.sparsity IN (0.2, 0.4, 0.6)
ORDER BY v.sparsity, a.label;
