-- answers_to_questions: questions with difference and verdict. One row per question with its best answer: a variant, or the
-- mean of all variants, compared with its baseline. Declared questions only, unless no question was declared (status says so)
-- or only_declared is false. With all_answers, each further variant has a row. answer is the verdict, or the tally of a question with several tests, and with
-- all_answers the verdict of the row. The interval has the level ci_level: 0.95 for a gain, 0.9 for a margin; it is not
-- corrected for other tests. A claim that is not shown is not refuted: read the interval, and what could have been found.
-- p_claim is the corrected p-value of the claim: p_margin_corrected of a claim with a margin, else p_corrected.
-- n_baseline_seeds counts seeds of the baselines that are not paired with the variants' seeds: then the error of a mean has a
-- part of its own for them.
-- topic: answers
-- first: question, difference, answer
-- folded: question
-- $only_declared BOOLEAN = true
-- $all_answers BOOLEAN = false
WITH labelled AS (
    SELECT
        q.*, a.* EXCLUDE (question_id, margin), t.* EXCLUDE (question_id),
        coalesce(v.label, 'mean of ' || a.n_variants) AS label, b.label AS baseline_label
    FROM internal.verdicts AS a
    JOIN internal.question_answers AS t ON t.question_id = a.question_id
    JOIN internal.described_questions AS q ON q.question_id = a.question_id
    LEFT JOIN described_variants AS v ON v.variant_id = a.variant_id
    LEFT JOIN described_variants AS b ON b.variant_id = a.baseline_id
)
SELECT
    CASE
        WHEN NOT $all_answers OR n_answers = 1 THEN title
        WHEN place = 1 THEN title || ' ' || label
        ELSE label
    END AS question,
    CASE WHEN $all_answers THEN verdict ELSE answer END AS answer,
    difference,
    CASE claim WHEN 'gain' THEN ci_low ELSE ci90_low END AS ci_low,
    CASE claim WHEN 'gain' THEN ci_high ELSE ci90_high END AS ci_high,
    ci_level, status, label,
    CASE claim WHEN 'gain' THEN p_corrected ELSE p_margin_corrected END AS p_claim,
    verdict, title, name, n_seeds, n_baseline_seeds, claim, answer AS question_answer, verdict_reason, remarks,
    baseline_label, differs_in, task, metric, languages, margin, ci90_low, ci90_high, p_margin, p_margin_corrected,
    p_opposite_corrected, p_value, p_corrected, n_family, n_questions, arithmetic_noise, smallest_significant,
    detectable_difference, chance, mask_agreement, n_known_baselines, n_variants, conditional_on_one_draw, n_items,
    n_clusters, scale, over, split, recipe, place, question_id, variant_id, baseline_id
FROM labelled
WHERE (is_declared OR NOT $only_declared OR NOT EXISTS (FROM internal.described_questions WHERE is_declared))
    AND (place = 1 OR $all_answers)
ORDER BY NOT is_primary, NOT is_declared, claim <> 'gain', claim DESC, title, question_id, place;
