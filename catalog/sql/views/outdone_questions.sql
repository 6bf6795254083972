-- outdone_questions: one row per question that another one replaces, which a later version of the step answered: the same
-- question about the same variants and baselines, or if it is not declared, about all that it was answered for. A question
-- has another id in every version. Views show no answer of an outdone question, and it is in no family.
CREATE OR REPLACE VIEW internal.outdone_questions AS
WITH pairs AS (
    SELECT question_id, variant_id, baseline_id FROM question_variants
    UNION
    SELECT question_id, variant_id, baseline_id FROM answer_results WHERE comparison_id <> ''
),
asked AS (
    SELECT
        q.question_id, q.criterion_id, q.is_declared, coalesce(r.step_version, 0) AS step_version,
        coalesce(list(p.variant_id || ' ' || p.baseline_id) FILTER (p.variant_id IS NOT NULL), []) AS pairs
    FROM questions AS q
    LEFT JOIN pairs AS p ON p.question_id = q.question_id
    LEFT JOIN records AS r ON r.id = q.question_id
    GROUP BY ALL
)
SELECT o.question_id, arg_max(n.question_id, {step_version: n.step_version, id: n.question_id}) AS replaced_by
FROM asked AS o
JOIN asked AS n ON n.criterion_id = o.criterion_id AND n.step_version > o.step_version
WHERE list_has_all(n.pairs, o.pairs)
    AND CASE WHEN o.is_declared THEN n.is_declared AND len(n.pairs) = len(o.pairs) ELSE true END
GROUP BY o.question_id;
-- question_id: the question that is replaced
-- replaced_by: the one of the latest version that replaces it
