-- answers: questions with difference and verdict. One row per answer to a question: a variant, or the mean of all variants,
-- compared with its baseline, and the verdict. p_claim is the corrected p-value of the claim, and the interval of the claim
-- has the level ci_level: ci_low and ci_high for a gain, ci90_low and ci90_high for a margin. Primary questions are declared
-- before their results.
CREATE OR REPLACE VIEW answers AS
SELECT
    q.title, coalesce(v.label, 'mean of ' || a.n_variants) AS label, coalesce(b.label, q.against) AS baseline_label,
    a.verdict, v.method, q.task, q.split, q.metric, q.languages, q.higher_is_better,
    CASE q.claim WHEN 'gain' THEN a.p_corrected ELSE a.p_margin_corrected END AS p_claim,
    q.claim, q.over, q.is_declared, q.is_primary, q.status, q.name, q.recipe,
    a.* EXCLUDE (verdict)
FROM internal.verdicts AS a
JOIN internal.described_questions AS q ON q.question_id = a.question_id
LEFT JOIN internal.variant_descriptions AS v ON v.variant_id = a.variant_id
LEFT JOIN internal.variant_descriptions AS b ON b.variant_id = a.baseline_id;
-- label: the variant as text, or the number of variants whose mean it is
-- baseline_label: the baseline as text, or the entry of the recipe with the baselines
-- higher_is_better: whether a higher value of the metric is better
-- p_claim: corrected p-value of the claim: p_margin_corrected of a claim with a margin, else p_corrected
