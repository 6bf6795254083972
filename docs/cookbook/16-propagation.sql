-- Is `sequential` propagation better than `dense`?
-- The same demonstrations, score and sparsity with both propagations, each compared with the dense model outside English.
-- The last column is a difference of two differences, without a test.
SELECT s.sparsity, s.demonstration_label AS demonstrations, d.difference AS dense_propagation, d.ci_low, d.ci_high,
    s.difference AS sequential, s.ci_low AS sequential_low, s.ci_high AS sequential_high,
    s.difference - d.difference AS sequential_minus_dense
FROM method_differences AS s
JOIN method_differences AS d USING (score, demonstration_label, set_kind, sparsity, task, split, metric, group_kind)
WHERE s.task = 'facts' AND s.split = 'test' AND s.metric = 'accuracy' AND s.group_kind = 'outside_english'
    AND s.propagation = 'sequential' AND d.propagation = 'dense'
ORDER BY s.sparsity, s.demonstration_label;
