-- pareto: one row per variant, task, metric, scoring rule and evaluation setup: English and the mean of the other
-- languages. is_efficient is decided on dev: no variant that was evaluated there in the same languages is at least as
-- good in both and better in one. Values and differences are those of test. If several recipes chose, the one with most
-- candidates is shown. Without a dev split the view is empty.
CREATE OR REPLACE VIEW internal.pareto AS
WITH shown AS (
    SELECT *
    FROM pareto_chances
    QUALIFY dense_rank() OVER (
        PARTITION BY baseline_id, task, metric, scoring_rule, protocol_id
        ORDER BY n_candidates DESC, n_others DESC, choice_id
    ) = 1
)
SELECT
    v.base_model_id,
    p.variant_id,
    v.label,
    v.sparsity,
    v.is_dense,
    p.task,
    p.metric,
    p.scoring_rule,
    p.example_limit,
    p.protocol_id,
    p.languages,
    p.n_others,
    p.test_english_value AS english_value,
    p.test_others_value AS others_value,
    CASE WHEN v.is_dense THEN 0 ELSE e.difference END AS english_difference,
    e.ci_low AS english_ci_low,
    e.ci_high AS english_ci_high,
    CASE WHEN v.is_dense THEN 0 ELSE o.difference END AS others_difference,
    o.ci_low AS others_ci_low,
    o.ci_high AS others_ci_high,
    p.dev_english_value,
    p.dev_others_value,
    p.on_front_dev AS is_efficient,
    p.probability,
    p.keeps_both_dev,
    p.keeps_both_probability,
    p.on_front_test,
    p.keeps_both_test,
    p.n_candidates,
    p.baseline_id,
    p.choice_id
FROM shown AS p
JOIN internal.variant_descriptions AS v ON v.variant_id = p.variant_id
LEFT JOIN internal.against_dense AS e
    ON e.variant_id = p.variant_id
    AND e.baseline_id = p.baseline_id
    AND e.task = p.task
    AND e.language = 'en'
    AND e.split = 'test'
    AND e.metric = p.metric
    AND e.scoring_rule = p.scoring_rule
    AND e.protocol_id = p.protocol_id
    AND e.example_limit IS NOT DISTINCT FROM p.example_limit
LEFT JOIN internal.aggregates AS o
    ON o.variant_id = p.variant_id
    AND o.baseline_id = p.baseline_id
    AND o.task = p.task
    AND o.split = 'test'
    AND o.metric = p.metric
    AND o.group_kind = 'outside_english'
    AND o.n_languages = p.n_others
    AND o.scoring_rule = p.scoring_rule
    AND o.protocol_id = p.protocol_id
    AND o.example_limit IS NOT DISTINCT FROM p.example_limit;
-- english_value: value in English on test
-- others_value: mean over the other languages on test
-- english_difference: change in English on test: the variant's value minus the dense model's
-- english_ci_low: lower end of the 95 % interval of english_difference
-- english_ci_high: upper end of the 95 % interval of english_difference
-- others_difference: the same for the mean over the other languages
-- others_ci_low: lower end of the 95 % interval of others_difference
-- others_ci_high: upper end of the 95 % interval of others_difference
-- is_efficient: whether it is on the Pareto front of dev
-- languages: English and the other languages, sorted, with blanks between them
