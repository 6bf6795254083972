-- first_answers: one row per question with its verdict or tally (question_answers) and its best test (answers, place 1);
-- page one shows the declared questions, or the exploratory ones of a store without any. answer is NULL without a test. The
-- sparsities are those of the tests whose verdict is yes; n_worse counts significant losses.
WITH asked AS (
    SELECT v.question_id, min(d.base_model_id) AS base_model_id
    FROM question_variants AS v
    JOIN described_variants AS d ON d.variant_id = v.variant_id
    GROUP BY v.question_id
),
tests AS (
    SELECT
        q.*, a.* EXCLUDE (question_id, margin), v.label,
        min(v.sparsity) FILTER (a.verdict = 'yes') OVER of_question AS lowest_sparsity,
        max(v.sparsity) FILTER (a.verdict = 'yes') OVER of_question AS highest_sparsity,
        count(*) FILTER (
            a.p_corrected < 0.05 AND sign(a.difference) = CASE WHEN q.higher_is_better THEN -1 ELSE 1 END
        ) OVER of_question AS n_worse,
        coalesce(v.base_model_id, b.base_model_id, s.base_model_id) AS base_model_id
    FROM internal.described_questions AS q
    LEFT JOIN internal.verdicts AS a ON a.question_id = q.question_id
    LEFT JOIN described_variants AS v ON v.variant_id = a.variant_id
    LEFT JOIN described_variants AS b ON b.variant_id = a.baseline_id
    LEFT JOIN asked AS s ON s.question_id = q.question_id
    WINDOW of_question AS (PARTITION BY q.question_id)
)
SELECT m.source AS base_model, t.*, c.* EXCLUDE (question_id)
FROM tests AS t
LEFT JOIN internal.question_answers AS c ON c.question_id = t.question_id
LEFT JOIN base_models AS m ON m.base_model_id = t.base_model_id
WHERE coalesce(t.place, 1) = 1
QUALIFY row_number() OVER (
    PARTITION BY
        t.base_model_id, t.criterion_id, t.is_declared,
        CASE WHEN t.is_declared THEN concat_ws('/', t.recipe, t.name, t.variants, t.against) END
    ORDER BY c.n_answers DESC NULLS LAST, t.n_variants DESC NULLS LAST, t.question_id
) = 1
ORDER BY
    base_model, t.base_model_id, t.is_primary DESC, t.is_declared DESC, t.task, t.recipe, t.claim <> 'gain', t.claim DESC,
    t.name, t.group_kind DESC, t.group_name, t.question_id;
