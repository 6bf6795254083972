-- pooled_languages: one row per variant and language outside English: the difference of accuracy to dense of the language
-- alone, and pooled, the estimate of a model over languages, for the variants that were chosen on dev and those of primary
-- questions. The split is test, or dev for a task that was evaluated only on dev.
-- title: Languages alone, and pooled
-- anchor: pooled
-- optional: true
-- explanation: Exploratory: no test or claim follows from this figure. One panel per variant that was chosen on dev or is
-- part of a primary question. Grey is the difference of accuracy to dense of a language alone, with its 95 % interval. Blue
-- is the estimate of a model in which the true differences of the languages are drawn from one normal distribution: it is
-- nearer to their mean the less is known of the language. Below are the mean of such languages, and the interval of a
-- further language that was not evaluated.
-- empty: The store has no model over languages of a variant that was chosen on dev or is part of a primary question. At
-- least three languages in addition to en under evaluations fill this figure.
WITH reported AS (
    SELECT variant_id, task FROM best_variant WHERE metric = 'accuracy'
    UNION
    SELECT v.variant_id, q.task
    FROM question_variants AS v
    JOIN questions AS q ON q.question_id = v.question_id
    WHERE q.is_primary AND q.metric = 'accuracy'
)
SELECT
    m.name AS base_model, v.base_model_id, p.task, p.split, concat_ws(', ', c.scoring_rule, q.protocol) AS scoring_rule,
    c.example_limit, v.label, v.score, v.intervention, v.demonstration_label, v.sparsity, p.language, p.n_languages,
    p.difference, c.ci_low, c.ci_high, p.pooled, p.pooled_ci_low, p.pooled_ci_high, p.mean, p.mean_ci_low, p.mean_ci_high,
    p.new_language_ci_low, p.new_language_ci_high, p.deviation, p.deviation_ci_low, p.deviation_ci_high,
    p.variant_id, p.comparison_id
FROM pooled_languages AS p
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = p.evaluation_id
SEMI JOIN reported AS r ON r.variant_id = p.variant_id AND r.task = p.task
JOIN described_variants AS v ON v.variant_id = p.variant_id
JOIN described_variants AS b ON b.variant_id = p.baseline_id AND b.is_dense AND b.base_model_id = v.base_model_id
JOIN internal.described_models AS m ON m.base_model_id = v.base_model_id
JOIN comparison_results AS c
    ON c.evaluation_id = p.evaluation_id AND c.baseline_evaluation_id = p.baseline_evaluation_id AND c.metric = p.metric
LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
WHERE p.metric = 'accuracy' AND coalesce(c.profile, 'corrected') = 'corrected'
QUALIFY p.split = max(p.split) OVER (PARTITION BY v.base_model_id, p.task)
ORDER BY
    base_model, v.base_model_id, p.task, scoring_rule, c.example_limit, v.sparsity, v.label, p.variant_id, p.comparison_id,
    p.language;
