-- What does pruning cost in English?
-- Mean change of English test accuracy, and the worst variant. Named query: `english_cost`.
SELECT score, propagation, sparsity, count(*) AS variants,
    round(avg(difference), 3) AS mean_change, round(min(difference), 3) AS worst
FROM gain_over_dense
WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy' AND language = 'en' AND sparsity IN (0.3, 0.4, 0.5)
GROUP BY score, propagation, sparsity
ORDER BY sparsity, score, propagation;
