-- accuracy_by_sparsity.sql: one row per line point of the curves: a task, language, method and sparsity, with the mean
-- accuracy of the variants there and the lowest and highest end of their 95% intervals. The dense model has score NULL.
-- Test split; the dev split only of a task that was evaluated on no other. Run-time baselines are left out.
WITH measured AS (
    SELECT v.base_model_id, m.task, m.split, e.scoring_rule, e.example_limit, m.language,
           v.score, d.kind AS demonstrations, v.propagation, v.structure, v.sparsity, v.variant_id,
           m.value, m.ci_low, m.ci_high
    FROM metrics AS m
    JOIN evaluations AS e USING (evaluation_id)
    JOIN variants AS v ON v.variant_id = m.variant_id
    LEFT JOIN demonstration_sets AS d USING (demonstration_set_id)
    WHERE m.metric = 'accuracy' AND v.intervention IS NULL
    QUALIFY m.split = max(m.split) OVER (PARTITION BY v.base_model_id, m.task)
)
SELECT base_model_id, task, split, scoring_rule, example_limit, language,
       score, demonstrations, propagation, structure, sparsity,
       count(DISTINCT variant_id) AS n_variants,
       avg(value ORDER BY variant_id) AS accuracy,
       min(ci_low) AS ci_low,
       max(ci_high) AS ci_high
FROM measured
GROUP BY ALL
ORDER BY base_model_id, task, scoring_rule, example_limit, language,
         score NULLS FIRST, demonstrations, propagation, structure, sparsity;
