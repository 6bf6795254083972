-- How large is the gap between each language and English, and why does pruning change it?
-- `minus_english` is the value minus that of English, and its change that of the language minus that of English: a gap
-- also becomes smaller where English loses.
-- Named query: `english_bias`.
SELECT g.label, g.language, g.dense_minus_english, g.minus_english, g.minus_english_change, e.difference AS english_change,
    e.ci_low AS english_low, e.ci_high AS english_high, c.difference AS language_change, c.ci_low, c.ci_high
FROM language_gap AS g
JOIN against_dense AS c ON c.evaluation_id = g.evaluation_id AND c.metric = g.metric
JOIN against_dense AS e ON e.evaluation_id = g.english_evaluation_id AND e.metric = g.metric
WHERE g.task = 'facts' AND g.split = 'test' AND g.metric = 'accuracy' AND g.label = 'wanda sw-en 0.4'
ORDER BY g.dense_minus_english DESC;
