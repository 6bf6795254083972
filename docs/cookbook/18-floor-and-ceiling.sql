-- Where can a language not lose any more?
-- `floor`: not significantly above guessing; `ceiling`: the interval reaches 1. A variant cannot lose at a floor, and
-- cannot gain at a ceiling.
SELECT v.label, m.language, m.value, m.ci_low, m.ci_high, m.chance, m.p_chance, m.limit_reached, m.n
FROM metrics AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
WHERE m.task = 'facts' AND m.split = 'test' AND m.metric = 'accuracy' AND v.label IN ('dense', 'wanda sw-en 0.6')
    AND m.limit_reached IS NOT NULL
ORDER BY v.label, m.limit_reached, m.language;
