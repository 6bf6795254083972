-- answers: one row per question and variant, or per question about the mean of all variants: the paired difference, its
-- p-value corrected over the family of its test, and whether it supports the claim. Only primary questions support claims:
-- their p-values are corrected over all primary questions of the recipe; of several recipes, the largest counts. The
-- difference of an exploratory question has the family that its comparison has in comparisons or aggregates; means over
-- variants and margins that are exploratory have none. Without room for a loss, a difference or a gain there is nothing to
-- ask: no loss from a baseline at chance, equivalence of two sides at chance, a gain over a baseline at the best value.
CREATE OR REPLACE VIEW answers AS
WITH own AS (
    SELECT
        question_id, comparison_id, max(n_tests) AS n_tests, max(n_questions) AS n_questions,
        max(n_family) AS n_family, max(p_corrected) AS p_corrected
    FROM question_tests
    WHERE language = ''
    GROUP BY question_id, comparison_id
),
compared AS (
    SELECT
        r.variant_id, r.baseline_id, r.task, r.split, r.metric, 'language' AS group_kind, r.language AS group_name,
        r.p_value, f.n_family, f.p_corrected
    FROM comparison_families AS f
    JOIN comparison_results AS r
        ON r.evaluation_id = f.evaluation_id AND r.baseline_evaluation_id = f.baseline_evaluation_id
        AND r.metric = f.metric AND r.task = f.task AND r.split = f.split
    UNION ALL
    SELECT
        r.variant_id, r.baseline_id, r.task, r.split, r.metric, r.group_kind, r.group_name,
        r.p_value, f.n_family, f.p_corrected
    FROM aggregate_families AS f
    JOIN aggregate_results AS r
        ON r.comparison_id = f.comparison_id AND r.metric = f.metric AND r.group_kind = f.group_kind
        AND r.group_name = f.group_name
),
corrected AS (
    SELECT * EXCLUDE (n_family, p_corrected), max(n_family) AS n_family, max(p_corrected) AS p_corrected
    FROM compared
    WHERE p_value IS NOT NULL
    GROUP BY ALL
),
directions AS (
    SELECT metric, bool_and(higher_is_better) AS higher_is_better
    FROM metrics
    GROUP BY metric
),
answered AS (
    SELECT
        a.*,
        o.n_tests,
        o.n_questions,
        CASE WHEN o.p_corrected IS NOT NULL THEN o.n_family WHEN q.claim = 'gain' THEN c.n_family END AS n_family,
        CASE WHEN q.claim = 'gain' THEN coalesce(o.p_corrected, c.p_corrected) ELSE c.p_corrected END AS p_corrected,
        CASE WHEN q.claim <> 'gain' THEN o.p_corrected END AS p_margin_corrected,
        CASE
            WHEN q.is_primary AND o.question_id IS NULL
                AND CASE q.claim WHEN 'gain' THEN a.p_value ELSE a.p_margin END IS NOT NULL
                THEN 'the same question with more variants replaces it'
            WHEN q.claim = 'noninferior' AND l.baseline_is_at_chance THEN q.against || ' is at chance'
            WHEN q.claim = 'equivalent' AND l.baseline_is_at_chance AND l.variant_is_at_chance THEN 'both are at chance'
            WHEN q.claim = 'gain' AND l.baseline_is_at_ceiling THEN q.against || ' is at the best value'
        END AS verdict_reason,
        CASE
            WHEN verdict_reason IS NOT NULL THEN 'cannot be asked'
            WHEN NOT q.is_primary THEN 'exploratory'
            WHEN o.p_corrected < 0.05
                AND (q.claim <> 'gain' OR CASE WHEN d.higher_is_better THEN a.difference > 0 ELSE a.difference < 0 END)
                THEN 'yes'
            ELSE 'no evidence'
        END AS verdict,
        verdict = 'yes' AS is_supported,
        r.n_gained + r.n_lost AS n_changed,
        r.n_gained IS NOT NULL
            OR (a.comparison_id <> '' AND q.metric IN ('accuracy', 'exact_match') AND q.group_kind NOT IN ('language', 'worst'))
            AS has_credit,
        CASE
            WHEN a.dtype <> 'bfloat16' THEN NULL
            WHEN q.metric = 'perplexity' THEN CASE WHEN a.n_languages > 1 OR a.n_variants > 1 THEN 0.013 ELSE 0.019 END
            WHEN q.metric = 'accuracy' THEN CASE WHEN a.n_languages > 1 OR a.n_variants > 1 THEN 0.004 ELSE 0.013 END
        END AS arithmetic_noise
    FROM answer_results AS a
    JOIN questions AS q ON q.question_id = a.question_id
    LEFT JOIN own AS o ON o.question_id = a.question_id AND o.comparison_id = a.comparison_id
    LEFT JOIN corrected AS c
        ON c.variant_id = a.variant_id AND c.baseline_id = a.baseline_id AND c.task = q.task AND c.split = q.split
        AND c.metric = q.metric AND c.group_kind = q.group_kind AND c.group_name = q.group_name
        AND c.p_value = a.p_value
    LEFT JOIN comparison_results AS r
        ON r.comparison_id = a.comparison_id AND r.metric = q.metric AND q.group_kind = 'language'
        AND r.language = q.group_name
    LEFT JOIN answer_limits AS l ON l.question_id = a.question_id AND l.comparison_id = a.comparison_id
    LEFT JOIN directions AS d ON d.metric = q.metric
)
SELECT
    a.* EXCLUDE (n_changed, has_credit),
    CASE
        WHEN a.test = 'tango' AND w.fewest_items <= a.n_items THEN w.fewest_items / a.n_items
        WHEN a.test = 'sign_flip' AND a.has_credit AND w.fewest_clusters <= a.n_clusters
            THEN least(
                w.fewest_clusters / (a.n_items::DOUBLE * a.n_languages),
                CASE WHEN a.p_value < 0.05 / a.n_family THEN abs(a.difference) END
            )
    END AS smallest_significant,
    CASE
        WHEN a.test = 'tango' THEN greatest(i.detectable_difference, smallest_significant)
        WHEN coalesce(a.standard_error, 0) <= 0 THEN NULL
        WHEN a.test = 'minima'
            THEN greatest(a.difference - a.ci_low, a.ci_high - a.difference) * w.quantile / 1.959963984540054
                + 0.8416212335729143 * a.standard_error
        ELSE greatest((w.quantile + 0.8416212335729143) * a.standard_error, smallest_significant)
    END AS detectable_difference,
    m.mask_agreement,
    m.nearest_variant_id,
    m.n_known_baselines,
    m.remarks
FROM answered AS a
LEFT JOIN test_powers AS w ON w.n_family = a.n_family AND w.n_items = 0 AND w.n_changed = 0
LEFT JOIN test_powers AS i
    ON i.n_family = a.n_family AND i.n_items = a.n_items AND a.test = 'tango'
    AND i.n_changed = least(
        a.n_items,
        CASE
            WHEN a.n_changed < 100 THEN a.n_changed
            WHEN a.n_changed < 1000 THEN (a.n_changed + 9) // 10 * 10
            ELSE (a.n_changed + 99) // 100 * 100
        END
    )
LEFT JOIN answer_remarks AS m ON m.question_id = a.question_id AND m.comparison_id = a.comparison_id;
-- n_tests: number of tests of the question; NULL unless it is primary
-- n_questions: number of primary questions of the recipe, which share the level of 5 %; NULL unless it is primary
-- n_family: n_tests times n_questions: the smallest p-value is compared with 0.05 divided by it. Of the difference of an exploratory question the number of tests in the family; NULL if it is in none
-- p_corrected: p_value after correction over the family; NULL without one
-- p_margin_corrected: p_margin after correction over the family; NULL for a gain, and unless the question is primary
-- verdict_reason: why the question cannot be asked: its baseline, or for equivalence both sides, are at chance or at the best value, or the same question was declared with more variants and replaces it; NULL otherwise
-- verdict: yes: the claim of a primary question is supported at 5 % after correction; no evidence: it is not, which does not refute it; cannot be asked: see verdict_reason; exploratory: otherwise, unless the question is primary
-- is_supported: whether verdict is yes; if not, nothing is shown
-- smallest_significant: smallest difference that the first step of Holm's correction over the family can find, if all changed items change in one direction, one in each cluster; NULL without a family, unless items are right or wrong, for the worst language and for the mean over variants
-- detectable_difference: true difference that this step finds with a power of 80 %, given the share of changed items or the standard error, at least smallest_significant; NULL without a family, or if nothing changed
-- arithmetic_noise: largest change of such a difference that was measured between two processors (definitions.md): a smaller difference may be due to the processor; NULL if it is negligible (float32) or was not measured
-- mask_agreement: as in answer_remarks
-- nearest_variant_id: as in answer_remarks
-- n_known_baselines: as in answer_remarks
-- remarks: as in answer_remarks
