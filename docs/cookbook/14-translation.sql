-- Does the model still translate?
-- chrF of each pair, with the dense value and the p-value of the difference. Named query: `translation_quality`.
SELECT m.language AS pair, m.sparsity, count(*) AS variants, round(avg(m.value), 3) AS chrf,
    round(any_value(m.dense_value), 3) AS dense, round(max(g.p_value), 4) AS largest_p_value
FROM measured AS m
JOIN gain_over_dense AS g ON g.evaluation_id = m.evaluation_id AND g.metric = m.metric
WHERE m.task = 'translation' AND m.metric = 'chrf' AND g.score = 'wanda'
GROUP BY m.language, m.sparsity
ORDER BY m.language, m.sparsity;
