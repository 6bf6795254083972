-- mean_changes: one row per method, sparsity, baseline, task, split, metric, group of languages and way of evaluating: the
-- mean difference over variants that differ only in seeds, and over such baselines, with the lowest and the highest.
-- Nothing else is averaged. It has no test: for one, declare a question with `over: mean`. Groups are those of aggregates,
-- or language. Other arguments: of_split ('test') and of_metric ('accuracy').
CREATE OR REPLACE MACRO mean_changes(of_task, of_split := 'test', of_metric := 'accuracy') AS TABLE
WITH differences AS (
    SELECT
        variant_id, baseline_id, task, split, metric, 'language' AS group_kind, language AS group_name, scale,
        scoring_rule, example_limit, protocol_id, profile, difference
    FROM internal.comparisons
    ANTI JOIN internal.outdone_evaluations USING (evaluation_id)
    WHERE task = of_task AND split = of_split AND metric = of_metric
    UNION ALL
    SELECT
        variant_id, baseline_id, task, split, metric, group_kind, group_name, scale,
        scoring_rule, example_limit, protocol_id, profile, difference
    FROM internal.aggregates
    WHERE task = of_task AND split = of_split AND metric = of_metric
)
SELECT
    v.base_model_id, v.method, v.settings, v.sparsity, CASE WHEN b.is_dense THEN 'dense' ELSE b.method END AS baseline,
    d.task, d.split, d.metric, d.group_kind, d.group_name, d.scale, d.scoring_rule, d.example_limit, d.protocol_id,
    d.profile, count(*) AS n_comparisons, count(DISTINCT d.variant_id) AS n_variants, avg(d.difference ORDER BY d.variant_id) AS difference,
    min(d.difference) AS lowest, max(d.difference) AS highest
FROM differences AS d
JOIN internal.variant_descriptions AS v ON v.variant_id = d.variant_id
JOIN internal.variant_descriptions AS b ON b.variant_id = d.baseline_id
GROUP BY
    v.base_model_id, v.method_id, v.method, v.shots, v.samples, v.settings, v.sparsity, b.is_dense, b.method_id,
    b.method, b.shots, b.samples, b.settings, b.sparsity, d.task, d.split, d.metric, d.group_kind, d.group_name, d.scale,
    d.scoring_rule, d.example_limit, d.protocol_id, d.profile
ORDER BY ALL;
