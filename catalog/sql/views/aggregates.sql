-- aggregates: one row per variant, baseline, task, split, metric, way of evaluating and group of languages: the
-- difference over the group, with the family of tests that it belongs to and p-values that are corrected over the family.
-- Baselines are the dense model and the variants that recipes name: for the dense model alone see against_dense.
-- If several recipes compare the same variant, the row with most languages is shown. Families grow with later recipes. On
-- dev of a task that also has a split test, variants are chosen: there p_value and test_family are NULL.
CREATE OR REPLACE VIEW internal.aggregates AS
SELECT
    a.* REPLACE (CASE WHEN f.test_family IS NOT NULL THEN a.p_value END AS p_value),
    f.test_family, f.n_family, f.is_primary, f.p_corrected, f.q_bh, f.question_id,
    CASE
        WHEN a.test = 'sign_flip' AND a.metric IN ('accuracy', 'exact_match') AND a.group_kind NOT IN ('worst', 'gap')
            AND w.fewest_clusters <= a.n_clusters
            THEN least(
                w.fewest_clusters / (a.n_items::DOUBLE * a.n_languages),
                CASE WHEN a.p_value < 0.05 / f.n_family THEN abs(a.difference) END
            )
    END AS smallest_significant,
    CASE
        WHEN coalesce(a.standard_error, 0) <= 0 THEN NULL
        WHEN a.test = 'minima'
            THEN greatest(a.difference - a.ci_low, a.ci_high - a.difference) * w.quantile / 1.959963984540054
                + 0.8416212335729143 * a.standard_error
        ELSE greatest((w.quantile + 0.8416212335729143) * a.standard_error, smallest_significant)
    END AS detectable_difference,
    coalesce(d.conditional_on_one_draw, false) AS conditional_on_one_draw
FROM aggregate_results AS a
JOIN internal.aggregate_families AS f
    ON f.comparison_id = a.comparison_id
    AND f.metric = a.metric
    AND f.group_kind = a.group_kind
    AND f.group_name = a.group_name
    AND f.task = a.task
    AND f.split = a.split
LEFT JOIN internal.test_powers AS w ON w.n_family = f.n_family AND w.n_items = 0 AND w.n_changed = 0
LEFT JOIN internal.variant_draws AS d ON d.variant_id = a.variant_id
WHERE f.is_largest;
-- conditional_on_one_draw: whether the variant has a single draw of demonstrations or of the random score
-- detectable_difference: true difference that the first step of Holm's correction finds with a power of 80 % if the error is as estimated, at least smallest_significant; NULL outside families
-- smallest_significant: smallest difference that can pass this step, if all changed items change in one direction, one in each cluster; NULL outside families, unless items are right or wrong, and for worst and gap
