-- best_variant: the choice on dev, and what it gains on test. One row per base model, task, metric, criterion, scoring
-- rule and evaluation setup: the candidate with the best value on dev, what it is worth on test, and its change in
-- English on test. The dense model is a candidate: if it is chosen, no pruned variant is better on dev. Criteria are
-- the languages, outside_english (the mean of the others) and worst (the worst language). Of equal values on dev, the
-- dense model is chosen, then the lower sparsity, then the smaller id. If several recipes chose, the one with most
-- candidates is shown, then the one with most languages. This view alone decides what to use: a choice is used if its
-- gain is shown on test.
CREATE OR REPLACE VIEW best_variant AS
WITH shown AS (
    SELECT v.base_model_id, c.*
    FROM choices AS c
    JOIN variants AS v ON v.variant_id = c.baseline_id
    WHERE c.is_chosen
    QUALIFY row_number() OVER (
        PARTITION BY c.baseline_id, c.task, c.metric, c.scoring_rule, c.protocol_id, c.group_kind, c.group_name
        ORDER BY c.n_candidates DESC, c.n_languages DESC, c.dev_n_items DESC, c.choice_id
    ) = 1
),
ranked AS (
    SELECT
        *,
        count(p_value) OVER of_family AS n_family,
        rank() OVER (of_family ORDER BY p_value NULLS LAST) AS place
    FROM shown
    WINDOW of_family AS (
        PARTITION BY base_model_id, task, metric, scoring_rule, protocol_id, group_kind
    )
),
corrected AS (
    SELECT
        *,
        CASE WHEN p_value IS NOT NULL THEN least(1, max((n_family - place + 1) * p_value) OVER (
            PARTITION BY base_model_id, task, metric, scoring_rule, protocol_id, group_kind
            ORDER BY p_value NULLS LAST
        )) END AS p_corrected
    FROM ranked
)
SELECT
    c.base_model_id,
    c.task,
    coalesce(nullif(c.group_name, ''), c.group_kind) AS criterion,
    nullif(c.group_name, '') AS language,
    c.metric,
    coalesce(t.higher_is_better, c.metric <> 'perplexity') AS higher_is_better,
    c.scoring_rule,
    c.protocol_id,
    c.variant_id,
    v.label,
    v.method,
    v.is_dense,
    v.score,
    v.structure,
    v.propagation,
    v.set_kind,
    v.source_language,
    v.target_language,
    v.demonstration_label,
    v.settings,
    v.sparsity,
    c.dev_value,
    c.dev_difference,
    c.win_share,
    c.n_tied,
    c.n_candidates,
    c.languages,
    c.n_languages,
    c.test_value,
    t.ci_low AS test_ci_low,
    t.ci_high AS test_ci_high,
    c.test_dense_value AS dense_value,
    c.difference,
    c.scale,
    c.ci_low AS difference_ci_low,
    c.ci_high AS difference_ci_high,
    c.p_value,
    c.p_corrected,
    nullif(c.n_family, 0) AS n_family,
    CASE
        WHEN v.is_dense THEN 'no gain on dev'
        WHEN coalesce(c.p_corrected >= 0.05, true) OR c.difference = 0 THEN 'not shown'
        WHEN (c.difference > 0) = coalesce(t.higher_is_better, c.metric <> 'perplexity') THEN 'gain shown'
        ELSE 'loss shown'
    END AS verdict,
    CASE verdict WHEN 'gain shown' THEN v.label ELSE 'keep dense' END AS use,
    c.optimism,
    c.n_shared_items,
    c.shared_clusters,
    CASE WHEN v.is_dense THEN 0 ELSE e.difference END AS english_difference,
    e.ci_low AS english_ci_low,
    e.ci_high AS english_ci_high,
    e.p_value AS english_p_value,
    c.baseline_id,
    c.choice_id,
    c.dev_evaluation_id,
    c.test_evaluation_id
FROM corrected AS c
JOIN internal.variant_descriptions AS v ON v.variant_id = c.variant_id
LEFT JOIN metrics AS t
    ON t.evaluation_id = c.test_evaluation_id
    AND t.metric = c.metric
    AND t.task = c.task
    AND t.split = 'test'
LEFT JOIN internal.against_dense AS e
    ON e.variant_id = c.variant_id
    AND e.baseline_id = c.baseline_id
    AND e.task = c.task
    AND e.language = 'en'
    AND e.split = 'test'
    AND e.metric = c.metric
    AND e.scoring_rule = c.scoring_rule
    AND e.protocol_id = c.protocol_id
    AND e.example_limit IS NOT DISTINCT FROM c.example_limit;
-- criterion: the language, outside_english or worst
-- language: the language; NULL for the other criteria
-- is_dense: whether the dense model is chosen: no pruned variant is better on dev
-- test_ci_low: lower end of the 95 % interval of test_value; NULL for several languages
-- test_ci_high: upper end of the 95 % interval of test_value
-- dense_value: the dense model's value on test
-- difference: test_value minus dense_value, on the scale; 0 if the dense model is chosen
-- difference_ci_low: lower end of the 95 % interval of difference; NULL for the dense model
-- difference_ci_high: upper end of the 95 % interval of difference
-- p_corrected: p_value after Holm's correction over the criteria of this kind for which a pruned variant is chosen
-- n_family: number of these criteria
-- verdict: gain shown: the choice is better than dense on test at 5 % after correction; loss shown: it is worse, at the same level; not shown: neither is; no gain on dev: dense is chosen
-- use: what to use: the label of the choice if its gain is shown, else keep dense
-- english_difference: change in English on test: the variant's value minus the dense model's
-- english_ci_low: lower end of the 95 % interval of english_difference
-- english_ci_high: upper end of the 95 % interval of english_difference
-- english_p_value: two-sided p-value of english_difference
-- languages: languages of the criterion, sorted, with blanks between them
