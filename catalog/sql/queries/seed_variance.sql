-- seed_variance: how much results vary with the seed. One row per group of variants that differ in nothing but a seed, and
-- per language or for all languages outside English: the mean difference from dense with its interval for other seeds and
-- other items, the standard deviation over seeds with its interval, and the share of the seed in the variance of the
-- difference of one seed. seed_of is what the seed draws. Of several recipes the one with most seeds is shown. Methods with
-- one seed have no row: their intervals are conditional on one draw.
-- topic: methods
-- first: sparsity, group_name, difference, seed_share, sd_seed
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
WITH components AS (
    SELECT *
    FROM seed_components
    WHERE profile = 'corrected' AND task = $task AND metric = $metric AND split = $split
)
SELECT
    v.score, v.structure, v.propagation, v.sparsity, v.demonstration_label AS demonstrations, v.settings,
    c.seed_of, c.seeds, c.group_kind, c.group_name, c.difference, c.ci_low, c.ci_high, c.interval,
    c.sd_seed, c.sd_seed_ci_low, c.sd_seed_ci_high, c.seed_share, c.seed_variance, c.item_variance,
    c.language_variance, c.bootstrap_ci_low, c.bootstrap_ci_high, c.n_seeds, c.n_languages, c.n_items, c.n_clusters,
    c.scale, c.scoring_rule, c.example_limit, q.protocol, v.base_model_id, c.variant_ids
FROM components AS c
ANTI JOIN components AS o
    ON o.n_seeds > c.n_seeds AND o.seed_of = c.seed_of AND list_has_all(o.variant_ids, c.variant_ids)
    AND o.group_kind = c.group_kind AND o.group_name = c.group_name
    AND o.scoring_rule IS NOT DISTINCT FROM c.scoring_rule AND o.protocol_id = c.protocol_id
    AND o.example_limit IS NOT DISTINCT FROM c.example_limit
JOIN described_variants AS v ON v.variant_id = c.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
ORDER BY
    v.base_model_id, v.score, v.propagation, v.sparsity, v.demonstration_label, v.settings, c.seed_of,
    c.group_kind DESC, c.group_name, c.scoring_rule, q.protocol NULLS FIRST, c.example_limit, c.seed_components_id;
