-- How large is the gap between each language and English, and does pruning reduce it?
-- `gap` is English minus the language, and its change is that of English minus that of the language: a gap also becomes
-- smaller where English loses. Wanda at sparsity 0.4, mean over all demonstrations. Named query: `english_bias`.
SELECT g.language, round(avg(g.dense_gap), 3) AS dense_gap, round(avg(g.gap), 3) AS gap,
    round(avg(g.gap_change), 3) AS change, round(avg(g.english_change), 3) AS of_english,
    round(avg(g.language_change), 3) AS of_language
FROM language_gap AS g
JOIN described_variants AS v ON v.variant_id = g.variant_id
WHERE g.task = 'facts' AND g.split = 'test' AND g.metric = 'accuracy' AND v.score = 'wanda' AND v.sparsity = 0.4
GROUP BY g.language
ORDER BY dense_gap;
