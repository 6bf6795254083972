-- answers_to_questions: questions with difference and verdict. One row per answer: a variant, or the mean of all variants,
-- compared with its baseline. Primary
-- questions come first, and of each question the best answer. The interval has the level ci_level: 0.95 for a gain, 0.9 for
-- a margin; it is not corrected for other tests. A claim that is not shown is not refuted: read the interval, and what could
-- have been found. p_claim is the corrected p-value of the claim: p_margin_corrected of a claim with a margin, else
-- p_corrected. question_answer is the tally of a question with several tests. n_baseline_seeds counts seeds of the baselines
-- that are not paired with the variants' seeds: then the error of a mean has a part of its own for them.
-- topic: answers
-- first: title, label, difference, verdict, ci_level
-- $only_declared BOOLEAN = false
SELECT
    q.title, coalesce(v.label, 'mean of ' || a.n_variants) AS label, a.verdict, a.difference,
    CASE q.claim WHEN 'gain' THEN a.ci_low ELSE a.ci90_low END AS ci_low,
    CASE q.claim WHEN 'gain' THEN a.ci_high ELSE a.ci90_high END AS ci_high,
    a.ci_level,
    CASE q.claim WHEN 'gain' THEN a.p_corrected ELSE a.p_margin_corrected END AS p_claim,
    a.n_seeds, a.n_baseline_seeds, q.claim, q.status, t.answer AS question_answer, a.verdict_reason, a.remarks, b.label AS baseline_label, q.differs_in,
    q.task, q.metric, q.languages, a.margin, a.ci90_low, a.ci90_high, a.p_margin, a.p_margin_corrected,
    a.p_opposite_corrected, a.p_value, a.p_corrected, a.n_family, a.n_questions, a.arithmetic_noise,
    a.smallest_significant, a.detectable_difference, a.chance, a.mask_agreement, a.n_known_baselines, a.n_variants,
    a.conditional_on_one_draw, a.n_items, a.n_clusters, a.scale, q.over, q.split, q.recipe, a.place,
    a.question_id, a.variant_id, a.baseline_id
FROM answers AS a
JOIN internal.question_answers AS t ON t.question_id = a.question_id
JOIN internal.described_questions AS q ON q.question_id = a.question_id
LEFT JOIN described_variants AS v ON v.variant_id = a.variant_id
LEFT JOIN described_variants AS b ON b.variant_id = a.baseline_id
WHERE q.is_declared OR NOT $only_declared
ORDER BY NOT q.is_primary, NOT q.is_declared, q.title, a.question_id, a.place;
