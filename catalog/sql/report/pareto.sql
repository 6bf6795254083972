-- pareto: one row per variant, task and scoring rule: English test accuracy and the mean over the other evaluated
-- languages, with their differences to the dense model of the same base model. is_efficient says whether the variant is
-- on the Pareto front of dev, with its probability; both are NULL for variants that were not candidates there.
-- title: English against the other languages
-- anchor: pareto
-- explanation: One point per variant, on test: the change of accuracy in English to the right, of the mean of the other
-- languages upwards. The star is the dense model; points above and right of the dotted lines are better in both. Large
-- points are on the Pareto front of dev: there, no candidate was better in one without being worse in the other. They
-- have 95 % intervals, their sparsity, and the share of resamples of dev in which they are on the front. On test they
-- need not be the best.
-- empty: No variant was evaluated on test in English and another language. An entry under evaluations with split: test
-- and languages such as [en, fr] fills this figure.
WITH balance AS (
    SELECT
        m.base_model_id, m.variant_id, m.task, m.scoring_rule, m.example_limit, m.protocol_id,
        any_value(m.value) FILTER (WHERE m.language = 'en') AS english_value,
        any_value(m.evaluation_id) FILTER (WHERE m.language = 'en') AS english_evaluation_id,
        list_avg(list_sort(list(m.value) FILTER (WHERE m.language <> 'en'))) AS others_value,
        count(*) FILTER (WHERE m.language <> 'en') AS n_others,
        array_to_string(list_sort(list(m.language)), ' ') AS languages
    FROM measured AS m
    WHERE m.split = 'test' AND m.metric = 'accuracy'
    GROUP BY ALL
    HAVING english_value IS NOT NULL AND others_value IS NOT NULL
),
others AS (
    SELECT a.*
    FROM internal.aggregates AS a
    JOIN variants AS v ON v.variant_id = a.variant_id
    JOIN internal.variant_descriptions AS b
        ON b.variant_id = a.baseline_id AND b.is_dense AND b.base_model_id = v.base_model_id
    WHERE a.split = 'test' AND a.metric = 'accuracy' AND a.group_kind = 'outside_english'
)
SELECT
    b.name AS base_model, p.base_model_id, p.task, 'test' AS split,
    concat_ws(', ', p.scoring_rule, q.protocol) AS scoring_rule, p.example_limit, p.languages,
    coalesce(v.score, v.combination) AS score, v.intervention, v.set_kind, v.propagation, v.structure, v.settings,
    v.demonstration_label, v.sparsity, v.is_dense, p.english_value, p.others_value, p.n_others,
    CASE WHEN v.is_dense THEN 0 ELSE e.difference END AS english_difference,
    e.ci_low AS english_ci_low, e.ci_high AS english_ci_high,
    CASE WHEN v.is_dense THEN 0 ELSE o.difference END AS others_difference,
    o.ci_low AS others_ci_low, o.ci_high AS others_ci_high,
    f.is_efficient, f.probability, f.keeps_both_dev, f.keeps_both_test,
    v.label, p.variant_id
FROM balance AS p
JOIN internal.variant_descriptions AS v ON v.variant_id = p.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = p.protocol_id
JOIN internal.described_models AS b ON b.base_model_id = p.base_model_id
LEFT JOIN internal.against_dense AS e ON e.evaluation_id = p.english_evaluation_id AND e.metric = 'accuracy'
LEFT JOIN others AS o
    ON o.variant_id = p.variant_id AND o.task = p.task AND o.n_languages = p.n_others
    AND o.scoring_rule = p.scoring_rule AND o.protocol_id = p.protocol_id
    AND o.example_limit IS NOT DISTINCT FROM p.example_limit
LEFT JOIN internal.pareto AS f
    ON f.variant_id = p.variant_id AND f.task = p.task AND f.metric = 'accuracy' AND f.languages = p.languages
    AND f.scoring_rule = p.scoring_rule AND f.protocol_id = p.protocol_id
    AND f.example_limit IS NOT DISTINCT FROM p.example_limit
ORDER BY
    p.task, scoring_rule, p.example_limit, p.languages, base_model, p.base_model_id, score DESC NULLS FIRST,
    v.intervention, v.set_kind DESC, v.propagation DESC, v.structure, v.settings NULLS FIRST, v.demonstration_label,
    v.sparsity, p.variant_id;
