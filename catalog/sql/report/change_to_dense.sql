-- change_to_dense.sql: one row per cell of the heat-maps: a task, language, method and sparsity, with the mean change of
-- accuracy to the dense model and how many of the cell's variants rise or fall significantly (p < 0.05 after Holm over
-- all comparisons of one model and task in this report). Test split; dev only of a task that was evaluated on no other.
WITH compared AS (
    SELECT v.base_model_id, c.task, c.split, e.scoring_rule, e.example_limit, c.language,
           v.score, v.intervention, d.kind AS demonstrations, v.propagation, v.structure, v.sparsity, v.variant_id,
           c.difference, c.p_value
    FROM comparisons AS c
    JOIN evaluations AS e ON e.evaluation_id = c.evaluation_id
    JOIN variants AS v ON v.variant_id = c.variant_id
    JOIN variants AS dense ON dense.variant_id = c.baseline_id
    LEFT JOIN demonstration_sets AS d ON d.demonstration_set_id = v.demonstration_set_id
    WHERE c.metric = 'accuracy' AND dense.sparsity = 0 AND dense.intervention IS NULL
      AND c.variant_id <> c.baseline_id
    QUALIFY c.split = max(c.split) OVER (PARTITION BY v.base_model_id, c.task)
), ranked AS (
    SELECT *, row_number() OVER family - 1 AS n_smaller, count(p_value) OVER everything AS n_family
    FROM compared
    WINDOW everything AS (PARTITION BY base_model_id, task, scoring_rule, example_limit),
           family AS (everything ORDER BY p_value NULLS LAST, variant_id, language)
), adjusted AS (
    SELECT *, least(1, max((n_family - n_smaller) * p_value) OVER (
               PARTITION BY base_model_id, task, scoring_rule, example_limit
               ORDER BY n_smaller ROWS UNBOUNDED PRECEDING)) AS p_holm
    FROM ranked
)
SELECT base_model_id, task, split, scoring_rule, example_limit, language,
       score, intervention, demonstrations, propagation, structure, sparsity,
       count(*) AS n_variants,
       avg(difference ORDER BY variant_id) AS difference,
       count(*) FILTER (p_holm < 0.05 AND difference > 0) AS n_significantly_better,
       count(*) FILTER (p_holm < 0.05 AND difference < 0) AS n_significantly_worse,
       min(p_holm) AS smallest_p_holm
FROM adjusted
GROUP BY ALL
ORDER BY base_model_id, task, scoring_rule, example_limit, score NULLS LAST, intervention, demonstrations,
         propagation, structure, sparsity, language;
