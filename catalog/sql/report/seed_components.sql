-- seed_components: one row per group of variants that differ in nothing but a seed, task and language (or outside_english,
-- the mean of the others): their mean difference of accuracy to dense, with an interval for other seeds and other items,
-- and the standard deviations that are due to the seed and to the items. The split is test, or dev for a task that was
-- evaluated only on dev.
-- title: How much do results depend on the seed?
-- anchor: seeds
-- explanation: Variants that differ in nothing but a seed, with one row per method and sparsity. Left: their mean
-- difference of accuracy to dense, with a 95 % interval for other seeds and other items. Right: the standard deviation
-- of a single variant's difference that is due to its seed, and to the items. Everything else on this page that has one
-- seed is conditional on one draw of demonstrations: its intervals cover other items only.
-- empty: No variants differ only in a seed, so every interval on this page is conditional on one draw of
-- demonstrations: it covers other items, not other demonstrations. seed: [0, 1, 2, 3, 4] in an entry of demonstrations
-- fills this figure.
SELECT
    m.source AS base_model, v.base_model_id, s.task, s.split, concat_ws(', ', s.scoring_rule, q.protocol) AS scoring_rule,
    s.example_limit, v.method, v.sparsity, v.score, v.intervention, v.set_kind, v.demonstration_label,
    s.group_kind, s.group_name, s.languages, s.seed_of, s.n_seeds, s.n_items, s.n_clusters,
    s.difference, s.ci_low, s.ci_high, s.interval,
    sqrt(CASE WHEN s.seed_variance < 0 THEN 0 ELSE s.seed_variance END) AS seed_deviation,
    sqrt(CASE WHEN s.item_variance < 0 THEN 0 ELSE s.item_variance END) AS item_deviation,
    s.seed_share, s.sd_seed, s.sd_seed_ci_low, s.sd_seed_ci_high, s.seed_components_id
FROM seed_components AS s
JOIN internal.variant_descriptions AS v ON v.variant_id = s.variant_id
JOIN base_models AS m ON m.base_model_id = v.base_model_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = s.protocol_id
WHERE s.profile = 'corrected' AND s.metric = 'accuracy'
QUALIFY s.split = max(s.split) OVER (PARTITION BY v.base_model_id, s.task)
ORDER BY
    base_model, v.base_model_id, s.task, scoring_rule, s.example_limit, s.group_kind = 'language', s.group_name <> 'en',
    s.group_name, v.score DESC, v.method, v.sparsity, s.seed_of, s.seed_components_id;
