-- answered_questions: one row per question and answer: the paired difference of a variant, or of the mean of all
-- variants, and whether it supports the claim. Of questions that differ only in their variants, the one with most answers
-- is shown. seeds_differ is true if the variants of the question have several seeds.
WITH asked AS (
    SELECT v.question_id, min(d.base_model_id) AS base_model_id
    FROM question_variants AS v
    JOIN described_variants AS d ON d.variant_id = v.variant_id
    GROUP BY v.question_id
),
answered AS (
    SELECT
        q.*, a.* EXCLUDE (question_id, margin),
        v.label, v.score, v.intervention, v.demonstration_label, v.sparsity,
        count(DISTINCT v.seed) OVER (PARTITION BY q.question_id) > 1 AS seeds_differ,
        coalesce(v.base_model_id, b.base_model_id, s.base_model_id) AS base_model_id,
        count(*) OVER (PARTITION BY q.question_id) AS n_answers
    FROM internal.verdicts AS a
    JOIN internal.described_questions AS q ON q.question_id = a.question_id
    LEFT JOIN described_variants AS v ON v.variant_id = a.variant_id
    LEFT JOIN described_variants AS b ON b.variant_id = a.baseline_id
    LEFT JOIN asked AS s ON s.question_id = a.question_id
)
SELECT m.source AS base_model, a.*
FROM answered AS a
LEFT JOIN base_models AS m ON m.base_model_id = a.base_model_id
QUALIFY dense_rank() OVER (
    PARTITION BY
        a.base_model_id, a.criterion_id, a.is_declared,
        CASE WHEN a.is_declared THEN concat_ws('/', a.recipe, a.name, a.variants, a.against) END
    ORDER BY a.n_answers DESC, a.n_variants DESC, a.question_id
) = 1
ORDER BY
    base_model, a.base_model_id, a.is_primary DESC, a.is_declared DESC, a.task, a.recipe, a.claim <> 'gain', a.claim DESC,
    a.name, a.group_kind DESC,
    a.group_name, a.question_id, a.sparsity, a.label, a.comparison_id;
