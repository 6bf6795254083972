-- comparisons: one row per metric and pair of evaluations of the same examples: a variant compared with a baseline, with
-- the family of tests that the comparison belongs to and p-values that are corrected over the family. Baselines are the
-- dense model and the variants that recipes name: for the dense model alone see against_dense. Families grow with
-- later recipes. On dev of a task that also has a split test, variants are chosen: there p_value and test_family are NULL. So
-- they are for an evaluation that a larger one of the same variant replaces.
CREATE OR REPLACE VIEW internal.comparisons AS
SELECT
    c.* EXCLUDE (step_version) REPLACE (CASE WHEN f.test_family IS NOT NULL THEN c.p_value END AS p_value),
    f.test_family, f.n_family, f.is_primary, f.p_corrected, f.q_bh, f.question_id,
    CASE
        WHEN c.test = 'tango' AND w.fewest_items <= c.n THEN w.fewest_items / c.n
        WHEN c.test = 'sign_flip' AND c.n_gained IS NOT NULL AND w.fewest_clusters <= c.n_clusters
            THEN least(w.fewest_clusters / c.n, CASE WHEN c.p_value < 0.05 / f.n_family THEN abs(c.difference) END)
    END AS smallest_significant,
    CASE
        WHEN c.test = 'tango' AND c.n_gained IS NOT NULL THEN greatest(i.detectable_difference, smallest_significant)
        WHEN c.standard_error > 0
            THEN greatest((w.quantile + 0.8416212335729143) * c.standard_error, smallest_significant)
    END AS detectable_difference,
    coalesce(d.conditional_on_one_draw, false) AS conditional_on_one_draw
FROM comparison_results AS c
LEFT JOIN internal.comparison_families AS f
    ON f.evaluation_id = c.evaluation_id
    AND f.baseline_evaluation_id = c.baseline_evaluation_id
    AND f.metric = c.metric
    AND f.task = c.task
    AND f.split = c.split
LEFT JOIN internal.test_powers AS w ON w.n_family = f.n_family AND w.n_items = 0 AND w.n_changed = 0
LEFT JOIN internal.test_powers AS i
    ON i.n_family = f.n_family AND i.n_items = c.n AND c.test = 'tango'
    AND i.n_changed = least(
        c.n,
        CASE
            WHEN c.n_gained + c.n_lost < 100 THEN c.n_gained + c.n_lost
            WHEN c.n_gained + c.n_lost < 1000 THEN (c.n_gained + c.n_lost + 9) // 10 * 10
            ELSE (c.n_gained + c.n_lost + 99) // 100 * 100
        END
    )
LEFT JOIN internal.variant_draws AS d ON d.variant_id = c.variant_id;
-- smallest_significant: smallest difference that can pass the first step of Holm's correction, if all changed items change in one direction, one in each cluster, or the difference itself if it passes with shared credit; NULL outside families, unless items have credit, or if all are too few
-- detectable_difference: true difference that the first step of Holm's correction finds with a power of 80 % if the error, or the share of changed items, is as estimated, at least smallest_significant; NULL outside families
-- conditional_on_one_draw: whether the variant has a single draw of demonstrations or of the random score
