-- answers_to_questions: one row per answer: a variant, or the mean of all variants, compared with its baseline. Primary
-- questions come first. A claim that is not supported is not refuted: read the interval, and what could have been found.
-- p_claim is the corrected p-value of the claim: p_margin_corrected of a claim with a margin, else p_corrected.
-- topic: answers
-- first: label, claim, verdict, difference, p_claim, title
-- $only_declared BOOLEAN = false
SELECT
    q.title, q.status, q.claim, a.verdict, a.verdict_reason, v.label, b.label AS baseline_label, q.differs_in, q.task,
    q.metric, q.languages, a.difference, a.ci_low, a.ci_high,
    CASE q.claim WHEN 'gain' THEN a.p_corrected ELSE a.p_margin_corrected END AS p_claim,
    a.p_value, a.p_corrected, a.n_family, a.n_questions, a.arithmetic_noise, a.margin, a.ci90_low, a.ci90_high, a.p_margin,
    a.p_margin_corrected, a.smallest_significant, a.detectable_difference, a.chance,
    a.remarks, a.mask_agreement, a.n_known_baselines, a.n_variants, a.n_seeds, a.conditional_on_one_draw, a.n_items, a.n_clusters, a.scale, q.over, q.split, q.recipe,
    a.question_id, a.variant_id, a.baseline_id
FROM answers AS a
JOIN described_questions AS q ON q.question_id = a.question_id
LEFT JOIN described_variants AS v ON v.variant_id = a.variant_id
LEFT JOIN described_variants AS b ON b.variant_id = a.baseline_id
WHERE q.is_declared OR NOT $only_declared
ORDER BY NOT q.is_primary, NOT q.is_declared, q.title, a.is_supported DESC, a.difference DESC, a.comparison_id;
