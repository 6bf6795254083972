-- Is `sequential` propagation better than `dense`?
-- The same demonstrations, score and sparsity with both propagations: test accuracy in the languages other than
-- English.
SELECT sparsity, source_language AS demonstrations_from,
    round(avg(value) FILTER (WHERE propagation = 'dense'), 3) AS dense,
    round(avg(value) FILTER (WHERE propagation = 'sequential'), 3) AS sequential,
    round(avg(value) FILTER (WHERE propagation = 'sequential')
        - avg(value) FILTER (WHERE propagation = 'dense'), 3) AS difference
FROM gain_over_dense
WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy' AND language <> 'en'
    AND score = 'wanda' AND set_kind = 'translation' AND sparsity IN (0.4, 0.6)
GROUP BY sparsity, source_language
ORDER BY sparsity, source_language;
