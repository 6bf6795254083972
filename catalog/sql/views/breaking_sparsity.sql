-- breaking_sparsity: one row per method, task, split, metric, language and way of evaluating: between which of the
-- evaluated sparsities the method falls below its dense model. A sparsity is below if the variant is worse with
-- p_corrected < 0.05, and with several seeds if every variant is. first_below is the first sparsity at which a loss is shown.
-- That no loss is shown up to last_not_below does not prove that the model is intact there: a smaller true loss than
-- detectable_difference is often missed. Variants of one method differ in nothing but sparsity and seed.
CREATE OR REPLACE VIEW internal.breaking_sparsity AS
WITH levels AS (
    SELECT
        v.base_model_id, v.method_id, v.method, v.score, v.intervention, v.combination, v.set_kind, v.source_language,
        v.target_language, v.propagation, v.structure, v.settings, v.demonstration_label, v.shots, v.samples,
        c.task, c.split, c.metric, c.language, e.scoring_rule, e.example_limit, e.protocol_id, v.sparsity,
        count(DISTINCT c.variant_id) AS n_variants,
        bool_and(c.outcome = 'worse' AND c.p_corrected < 0.05) AS is_below,
        avg(c.difference ORDER BY c.variant_id) AS difference,
        max(c.p_corrected) AS p_corrected,
        max(c.detectable_difference) AS detectable_difference,
        max(c.n_items) AS n,
        max(c.n_family) AS n_family
    FROM internal.against_dense AS c
    JOIN internal.variant_descriptions AS v ON v.variant_id = c.variant_id
    JOIN evaluations AS e ON e.evaluation_id = c.evaluation_id
    WHERE c.group_kind = 'language' AND c.p_value IS NOT NULL AND v.sparsity > 0
    GROUP BY ALL
),
marked AS (
    SELECT
        *,
        min(sparsity) FILTER (is_below) OVER curve AS first_below
    FROM levels
    WINDOW curve AS (
        PARTITION BY
            base_model_id, method_id, shots, samples, settings, task, split, metric, language, scoring_rule,
            example_limit, protocol_id
    )
)
SELECT
    base_model_id, method, score, intervention, combination, set_kind, source_language, target_language, propagation,
    structure, settings, demonstration_label, shots, samples,
    task, split, metric, language, scoring_rule, example_limit, protocol_id,
    coalesce(max(sparsity) FILTER (first_below IS NULL OR sparsity < first_below), 0) AS last_not_below,
    first_below,
    max(difference) FILTER (sparsity = first_below) AS difference,
    max(p_corrected) FILTER (sparsity = first_below) AS p_corrected,
    arg_max(detectable_difference, sparsity) FILTER (first_below IS NULL OR sparsity < first_below)
        AS detectable_difference,
    list(sparsity ORDER BY sparsity) AS sparsities,
    count(*) FILTER (sparsity > first_below AND NOT is_below) AS n_not_below_after,
    max(n_variants) AS n_variants,
    max(n) AS n,
    max(n_family) AS n_family
FROM marked
GROUP BY ALL;
-- last_not_below: largest sparsity before first_below that is not below dense; 0, the dense model, if there is none
-- first_below: smallest evaluated sparsity that is below dense; NULL if none is
-- difference: mean difference to dense at first_below
-- p_corrected: p-value at first_below after Holm's correction over the family, the largest of several variants
-- detectable_difference: true difference at last_not_below that the first step of Holm's correction finds with a power of 80 % if the error is as estimated; NULL if that is 0
-- sparsities: all evaluated sparsities
-- n_not_below_after: number of larger sparsities than first_below that are not below dense: above 0 for a method that recovers
-- n_variants: largest number of variants of a sparsity, which differ in their seeds
-- n: number of items
