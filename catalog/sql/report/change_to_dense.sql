-- change_to_dense: one row per cell of the heat maps: a task, language, method and sparsity, with the mean change of
-- accuracy from the dense model, and the number of the cell's variants with a significant gain or loss (p_holm < 0.05,
-- corrected over the n_family comparisons of the family). A method has one cell over all of its
-- demonstration sets (demonstration_label is NULL, and is_mean_over_pairs is true if it read any) and one cell for each
-- set. The split is test, or dev for a task that was evaluated only on dev.
WITH compared AS (
    SELECT
        b.source AS base_model, v.base_model_id, c.task, c.split,
        concat_ws(', ', e.scoring_rule, q.protocol) AS scoring_rule, e.example_limit, c.language,
        coalesce(v.score, v.combination) AS score, v.intervention, v.set_kind, v.propagation, v.structure,
        v.settings, v.sparsity, v.demonstration_label,
        c.variant_id, c.difference, c.p_holm, c.n_family
    FROM comparisons AS c
    JOIN evaluations AS e ON e.evaluation_id = c.evaluation_id
    LEFT JOIN protocols AS q ON q.protocol_id = e.protocol_id
    JOIN described_variants AS v ON v.variant_id = c.variant_id
    JOIN described_variants AS dense
        ON dense.variant_id = c.baseline_id AND dense.is_dense AND dense.base_model_id = v.base_model_id
    JOIN base_models AS b ON b.base_model_id = v.base_model_id
    WHERE c.profile = 'corrected' AND c.metric = 'accuracy' AND NOT v.is_dense AND c.difference IS NOT NULL
    QUALIFY c.split = max(c.split) OVER (PARTITION BY v.base_model_id, c.task)
),
cells AS (
    SELECT * REPLACE (NULL AS demonstration_label), demonstration_label IS NOT NULL AS is_mean_over_pairs FROM compared
    UNION ALL BY NAME
    SELECT *, false AS is_mean_over_pairs FROM compared WHERE demonstration_label IS NOT NULL
)
SELECT
    base_model, base_model_id, task, split, scoring_rule, example_limit, language,
    score, intervention, set_kind, propagation, structure, settings, demonstration_label, is_mean_over_pairs, sparsity,
    count(*) AS n_variants,
    avg(difference ORDER BY variant_id) AS difference,
    count(*) FILTER (WHERE p_holm < 0.05 AND difference > 0) AS n_significantly_better,
    count(*) FILTER (WHERE p_holm < 0.05 AND difference < 0) AS n_significantly_worse,
    min(p_holm) AS smallest_p_holm,
    max(n_family) AS n_family
FROM cells
GROUP BY ALL
ORDER BY
    base_model, base_model_id, task, scoring_rule, example_limit, score DESC NULLS LAST, intervention,
    set_kind DESC, propagation DESC, structure, settings NULLS FIRST, demonstration_label NULLS FIRST, language, sparsity;
