-- comparisons: one row per metric and pair of evaluations of the same examples: a variant compared with a baseline, with
-- the family of tests that the comparison belongs to and p-values that are corrected over the family. Baselines are the
-- dense model and the variants that recipes name: for the dense model alone see comparisons_to_dense. Families grow with
-- later recipes. On dev of a task that also has a split test, variants are chosen: there p_value and family are NULL. So
-- they are for an evaluation that a larger one of the same variant replaces.
CREATE OR REPLACE VIEW comparisons AS
SELECT
    c.* REPLACE (CASE WHEN f.family IS NOT NULL THEN c.p_value END AS p_value),
    f.family, f.n_family, f.is_primary, f.p_corrected, f.q_bh, f.question_id,
    coalesce(d.conditional_on_one_draw, false) AS conditional_on_one_draw
FROM comparison_results AS c
LEFT JOIN comparison_families AS f
    ON f.evaluation_id = c.evaluation_id
    AND f.baseline_evaluation_id = c.baseline_evaluation_id
    AND f.metric = c.metric
    AND f.task = c.task
    AND f.split = c.split
LEFT JOIN variant_draws AS d ON d.variant_id = c.variant_id;
-- conditional_on_one_draw: whether the variant has a single draw of demonstrations or of the random score
