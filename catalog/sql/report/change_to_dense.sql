-- change_to_dense: one row per cell of the heat maps: a task, method, sparsity and language (or outside_english, worst),
-- with the mean change of accuracy from the dense model. For groups of languages, the number of the cell's variants with
-- a significant gain or loss (p_corrected < 0.05, corrected over the n_family comparisons of the family); 0 for a language,
-- whose cell is not tested. A method has one cell over all of its demonstration sets (demonstration_label is NULL, and
-- is_mean_over_pairs is true if it read any) and one cell for each set. The split is test, or dev for a task that was
-- evaluated only on dev.
-- title: Change of accuracy from the dense model
-- anchor: change
-- explanation: One table per method, with a row per language and a column per sparsity. Purple is more accurate than
-- dense, orange less; 0.10 is ten points. The largest change of the methods compared, without random pruning, sets the
-- scale. A cell is the mean over its variants. In the rows of groups, ** means that the pooled tests of all of them are
-- significant (p < 0.05 after Holm's correction over the variants), * that some are. Cells of single languages are not
-- tested.
-- empty: The store has no comparison of accuracy with the dense model. Pruned variants are compared if the recipe has
-- both variants and an entry under evaluations.
WITH compared AS (
    SELECT
        b.source AS base_model, d.base_model_id, d.task, d.split,
        concat_ws(', ', d.scoring_rule, q.protocol) AS scoring_rule, d.example_limit,
        CASE d.group_kind WHEN 'language' THEN d.group_name ELSE d.group_kind END AS language,
        d.group_kind <> 'language' AS is_pooled,
        coalesce(v.score, v.combination) AS score, v.intervention, v.set_kind, v.propagation, v.structure,
        v.settings, v.sparsity, v.demonstration_label,
        d.variant_id, d.difference, d.p_corrected, d.n_family
    FROM against_dense AS d
    LEFT JOIN protocols AS q ON q.protocol_id = d.protocol_id
    JOIN described_variants AS v ON v.variant_id = d.variant_id
    JOIN base_models AS b ON b.base_model_id = d.base_model_id
    WHERE d.metric = 'accuracy' AND NOT v.is_dense AND d.difference IS NOT NULL
        AND d.group_kind IN ('language', 'outside_english', 'worst')
    QUALIFY d.split = max(d.split) OVER (PARTITION BY d.base_model_id, d.task)
),
cells AS (
    SELECT * REPLACE (NULL AS demonstration_label), demonstration_label IS NOT NULL AS is_mean_over_pairs FROM compared
    UNION ALL BY NAME
    SELECT *, false AS is_mean_over_pairs FROM compared WHERE demonstration_label IS NOT NULL
)
SELECT
    base_model, base_model_id, task, split, scoring_rule, example_limit, language, is_pooled,
    score, intervention, set_kind, propagation, structure, settings, demonstration_label, is_mean_over_pairs, sparsity,
    count(*) AS n_variants,
    avg(difference ORDER BY variant_id) AS difference,
    count(*) FILTER (WHERE is_pooled AND p_corrected < 0.05 AND difference > 0) AS n_significantly_better,
    count(*) FILTER (WHERE is_pooled AND p_corrected < 0.05 AND difference < 0) AS n_significantly_worse,
    max(n_family) AS n_family
FROM cells
GROUP BY ALL
ORDER BY
    base_model, base_model_id, task, scoring_rule, example_limit, score DESC NULLS LAST, intervention,
    set_kind DESC, propagation DESC, structure, settings NULLS FIRST, demonstration_label NULLS FIRST, language, sparsity;
