-- method_differences: one row per method, sparsity, language or group of languages, and way of evaluating: the paired
-- difference to the dense model, of profile corrected. Variants of a row differ in nothing but seeds. The estimate of a
-- single variant is its comparison. That of several is taken from seed_components, with an interval for other seeds too;
-- if they have none, it is their mean, without interval or test. English is a group of kind language.
CREATE OR REPLACE VIEW internal.method_differences AS
WITH compared AS (
    SELECT
        variant_id, baseline_id, task, split, metric, scoring_rule, example_limit, protocol_id, group_kind, group_name,
        languages, dense_value, difference, scale, ci_low, ci_high, standard_error, p_value, interval_contradicts_p,
        p_corrected, test_family, n_family, is_primary, n_items, n_clusters, n_gained, n_lost, smallest_significant,
        detectable_difference, conditional_on_one_draw
    FROM internal.against_dense
    WHERE difference IS NOT NULL
),
methods AS (
    SELECT
        v.base_model_id, v.method_id, v.method, v.score, v.structure, v.propagation, v.set_kind, v.source_language,
        v.target_language, v.demonstration_label, v.settings, v.intervention, v.shots, v.samples, v.sets_made_of, v.sparsity,
        d.baseline_id, d.task, d.split, d.metric, d.scoring_rule, d.example_limit, d.protocol_id, d.group_kind, d.group_name,
        d.scale,
        count(*) AS n_variants,
        list_sort(list(d.variant_id)) AS variant_ids,
        first(d ORDER BY d.variant_id) AS own,
        avg(d.difference ORDER BY d.variant_id) AS mean_difference,
        min(d.difference) AS least,
        max(d.difference) AS greatest
    FROM compared AS d
    JOIN internal.variant_descriptions AS v ON v.variant_id = d.variant_id
    GROUP BY ALL
),
of_seeds AS (
    SELECT *, list_sort(variant_ids) AS members
    FROM seed_components
    WHERE profile = 'corrected'
)
SELECT
    m.* EXCLUDE (own, mean_difference, least, greatest, variant_ids, n_variants, scale),
    m.own.languages AS languages,
    m.own.dense_value AS dense_value,
    CASE m.scale WHEN 'log_ratio' THEN m.own.dense_value * exp(coalesce(s.difference, m.mean_difference))
        ELSE m.own.dense_value + coalesce(s.difference, m.mean_difference) END AS value,
    coalesce(s.difference, m.mean_difference) AS difference,
    CASE WHEN m.n_variants = 1 THEN m.own.ci_low ELSE s.ci_low END AS ci_low,
    CASE WHEN m.n_variants = 1 THEN m.own.ci_high ELSE s.ci_high END AS ci_high,
    CASE WHEN m.n_variants = 1 THEN m.own.standard_error ELSE s.standard_error END AS standard_error,
    CASE WHEN m.n_variants = 1 THEN m.own.p_value END AS p_value,
    CASE WHEN m.n_variants = 1 THEN m.own.interval_contradicts_p END AS interval_contradicts_p,
    CASE WHEN m.n_variants = 1 THEN m.own.p_corrected END AS p_corrected,
    CASE WHEN m.n_variants = 1 THEN m.own.test_family END AS test_family,
    CASE WHEN m.n_variants = 1 THEN m.own.n_family END AS n_family,
    CASE WHEN m.n_variants = 1 THEN m.own.is_primary END AS is_primary,
    CASE WHEN m.n_variants = 1 THEN m.own.n_gained END AS n_gained,
    CASE WHEN m.n_variants = 1 THEN m.own.n_lost END AS n_lost,
    CASE WHEN m.n_variants = 1 THEN m.own.smallest_significant END AS smallest_significant,
    CASE WHEN m.n_variants = 1 THEN m.own.detectable_difference END AS detectable_difference,
    m.own.n_items AS n_items,
    m.own.n_clusters AS n_clusters,
    m.scale,
    m.n_variants,
    m.least,
    m.greatest,
    CASE
        WHEN m.n_variants = 1 AND m.own.conditional_on_one_draw THEN 'one draw'
        WHEN m.n_variants = 1 THEN 'one variant'
        WHEN s.difference IS NOT NULL THEN m.n_variants || ' seeds'
        ELSE 'mean of ' || m.n_variants || ' variants, no test'
    END AS estimate,
    m.variant_ids
FROM methods AS m
LEFT JOIN of_seeds AS s
    ON s.members = m.variant_ids
    AND s.baseline_id = m.baseline_id
    AND s.task = m.task
    AND s.split = m.split
    AND s.metric = m.metric
    AND s.group_kind = m.group_kind
    AND s.group_name = m.group_name
    AND s.scoring_rule IS NOT DISTINCT FROM m.scoring_rule
    AND s.example_limit IS NOT DISTINCT FROM m.example_limit
    AND s.protocol_id = m.protocol_id;
-- sets_made_of: the demonstration sets without profile and seed, see described_variants
-- group_kind: language, or the kind of group as in aggregate_results
-- group_name: the language, or the name of the group as in aggregate_results
-- languages: languages of the group, with blanks between them
-- dense_value: the dense model's value
-- value: the method's value: dense_value and difference together
-- difference: of a single variant its comparison's, else the mean over the variants
-- ci_low: lower end of the 95 % interval of the estimate; NULL for a mean without test
-- ci_high: upper end of it
-- p_value: as in comparisons or aggregates; NULL for several variants
-- n_items: number of items of one variant
-- n_clusters: number of clusters of these items
-- n_variants: number of variants, which differ in nothing but seeds
-- least: smallest difference of a variant
-- greatest: largest difference of a variant
-- estimate: one draw, one variant (nothing is drawn, or other seeds are in other rows), a number of seeds, or a mean without test
-- variant_ids: ids of the variants
