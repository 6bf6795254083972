-- aggregates: one row per variant, baseline, task, split, metric, way of evaluating and group of languages: the
-- difference over the group, with the family of tests that it belongs to and p-values that are corrected over the family.
-- Baselines are the dense model and the variants that recipes name: for the dense model alone see differences_to_dense.
-- If several recipes compare the same variant, the row with most languages is shown. Families grow with later recipes:
-- p_max_t is NULL if the family has other tests than when the answer was computed. On dev of a task that also has a
-- split test, variants are chosen: there p_value and family are NULL.
CREATE OR REPLACE VIEW aggregates AS
WITH answered AS (
    SELECT
        a.comparison_id, q.task, q.split, q.metric, q.group_kind, q.group_name, a.n_family,
        CASE WHEN q.is_declared THEN q.question_id END AS question_id,
        max(a.p_max_t) AS p_max_t
    FROM answers AS a
    JOIN questions AS q ON q.question_id = a.question_id
    WHERE q.claim = 'gain' AND q.over = 'each'
    GROUP BY ALL
)
SELECT
    a.* REPLACE (CASE WHEN f.family IS NOT NULL THEN a.p_value END AS p_value),
    f.family, f.n_family, f.is_primary, f.p_holm, f.q_bh, m.p_max_t, f.question_id,
    CASE
        WHEN coalesce(a.standard_error, 0) <= 0 THEN NULL
        WHEN a.test = 'minima'
            THEN greatest(a.difference - a.ci_low, a.ci_high - a.difference) * w.quantile / 1.959964
                + 0.841621 * a.standard_error
        ELSE (w.quantile + 0.841621) * a.standard_error
    END AS detectable_difference,
    coalesce(d.conditional_on_one_draw, false) AS conditional_on_one_draw
FROM aggregate_results AS a
JOIN aggregate_families AS f
    ON f.comparison_id = a.comparison_id
    AND f.metric = a.metric
    AND f.group_kind = a.group_kind
    AND f.group_name = a.group_name
    AND f.task = a.task
    AND f.split = a.split
LEFT JOIN answered AS m
    ON m.comparison_id = a.comparison_id
    AND m.task = a.task
    AND m.split = a.split
    AND m.metric = a.metric
    AND m.group_kind = a.group_kind
    AND m.group_name = a.group_name
    AND m.question_id IS NOT DISTINCT FROM f.question_id
    AND m.n_family = f.n_family
LEFT JOIN test_powers AS w ON w.n_family = f.n_family AND w.n_items = 0 AND w.n_changed = 0
LEFT JOIN variant_draws AS d ON d.variant_id = a.variant_id
WHERE f.is_largest;
-- conditional_on_one_draw: whether the variant has a single draw of demonstrations or of the random score
-- detectable_difference: true difference that the first step of Holm's correction finds with a power of 80 %, given the standard error; NULL outside families
-- p_max_t: p_value after max-T over the family, with sign flips; NULL if the family has grown since, or without an answer
