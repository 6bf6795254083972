-- verdicts: one row per question and variant, or per question about the mean of all variants: the paired difference, its
-- p-value corrected over the family of its test, and the verdict. This view alone decides verdicts (docs/protocol.md has the
-- procedure). An exploratory question has the p_corrected of its comparison in comparisons or aggregates; means over variants
-- and margins that are exploratory have none. Without room for a loss, a difference or a gain there is nothing to ask: no
-- loss from a baseline at chance, equivalence of two sides at chance, a gain over a baseline at the best value.
CREATE OR REPLACE VIEW internal.verdicts AS
WITH constants AS (
    SELECT 0.05 AS alpha, 0.95::DOUBLE AS level_of_gains, 0.9::DOUBLE AS level_of_margins, pow(2.0, 30) AS steps_of_ties
),
noise AS (
    SELECT * FROM (VALUES ('perplexity', 0.019, 0.013), ('accuracy', 0.013, 0.004)) AS measured (metric, of_one, of_mean)
),
own AS (
    SELECT
        question_id, comparison_id, max(n_tests) AS n_tests, max(n_questions) AS n_questions,
        max(n_family) AS n_family, max(p_corrected) AS p_corrected
    FROM internal.question_tests
    WHERE language = ''
    GROUP BY question_id, comparison_id
),
compared AS (
    SELECT
        r.comparison_id, r.metric, 'language' AS group_kind, r.language AS group_name, f.n_family, f.p_corrected,
        r.n_gained + r.n_lost AS n_changed
    FROM comparison_results AS r
    LEFT JOIN internal.comparison_families AS f
        ON f.evaluation_id = r.evaluation_id AND f.baseline_evaluation_id = r.baseline_evaluation_id
        AND f.metric = r.metric
    UNION ALL
    SELECT comparison_id, metric, group_kind, group_name, n_family, p_corrected, NULL
    FROM internal.aggregate_families
),
directions AS (
    SELECT metric, CASE WHEN bool_and(higher_is_better) THEN 1 ELSE -1 END AS direction
    FROM metrics
    GROUP BY metric
),
tested AS (
    SELECT
        a.*,
        q.claim, q.is_primary, v.sparsity,
        coalesce(d.direction, 1) * a.difference AS gain,
        o.n_tests,
        o.n_questions,
        CASE
            WHEN o.p_corrected IS NOT NULL THEN o.n_family
            WHEN q.claim = 'gain' AND c.p_corrected IS NOT NULL THEN c.n_family
        END AS n_family,
        CASE WHEN q.claim = 'gain' THEN coalesce(o.p_corrected, c.p_corrected) ELSE c.p_corrected END AS p_corrected,
        CASE WHEN q.claim <> 'gain' THEN o.p_corrected END AS p_margin_corrected,
        CASE WHEN q.claim <> 'gain' AND o.p_corrected IS NOT NULL THEN
            least(1, o.n_family * coalesce(
                a.p_opposite, (1 - a.p_margin) * CASE q.claim WHEN 'equivalent' THEN 2 ELSE 1 END
            ))
        END AS p_opposite_corrected,
        CASE
            WHEN q.is_primary AND o.question_id IS NULL
                AND CASE q.claim WHEN 'gain' THEN a.p_value ELSE a.p_margin END IS NOT NULL
                THEN 'the same question with more variants replaces it'
            WHEN q.claim = 'noninferior' AND l.baseline_is_at_chance THEN q.against || ' is at chance'
            WHEN q.claim = 'equivalent' AND l.baseline_is_at_chance AND l.variant_is_at_chance THEN 'both are at chance'
            WHEN q.claim = 'gain' AND l.baseline_is_at_ceiling THEN q.against || ' is at the best value'
        END AS verdict_reason,
        c.n_changed,
        c.n_changed IS NOT NULL
            OR (a.comparison_id <> '' AND q.metric IN ('accuracy', 'exact_match') AND q.group_kind NOT IN ('language', 'worst'))
            AS has_credit,
        CASE WHEN a.dtype = 'bfloat16' THEN
            CASE WHEN a.n_languages > 1 OR a.n_variants > 1 THEN x.of_mean ELSE x.of_one END
        END AS arithmetic_noise,
        r.* EXCLUDE (question_id, comparison_id)
    FROM answer_results AS a
    ANTI JOIN internal.outdone_questions AS u ON u.question_id = a.question_id
    JOIN questions AS q ON q.question_id = a.question_id
    LEFT JOIN own AS o ON o.question_id = a.question_id AND o.comparison_id = a.comparison_id
    LEFT JOIN compared AS c
        ON c.comparison_id = a.comparison_id AND c.metric = q.metric AND c.group_kind = q.group_kind
        AND c.group_name = q.group_name
    LEFT JOIN internal.answer_limits AS l ON l.question_id = a.question_id AND l.comparison_id = a.comparison_id
    LEFT JOIN directions AS d ON d.metric = q.metric
    LEFT JOIN noise AS x ON x.metric = q.metric
    LEFT JOIN internal.answer_remarks AS r ON r.question_id = a.question_id AND r.comparison_id = a.comparison_id
    LEFT JOIN internal.variant_descriptions AS v ON v.variant_id = a.variant_id
),
judged AS (
    SELECT
        t.*,
        CASE t.claim WHEN 'gain' THEN k.level_of_gains ELSE k.level_of_margins END AS ci_level,
        CASE
            WHEN t.verdict_reason IS NOT NULL THEN 'cannot be asked'
            WHEN NOT t.is_primary THEN 'exploratory'
            WHEN t.claim = 'gain' AND t.p_corrected < k.alpha AND t.gain > 0 THEN 'yes'
            WHEN t.claim = 'gain' AND t.p_corrected < k.alpha AND t.gain < 0 THEN 'no'
            WHEN t.p_margin_corrected < k.alpha THEN 'yes'
            WHEN t.p_opposite_corrected < k.alpha THEN 'no'
            ELSE 'not shown'
        END AS verdict,
        verdict = 'yes' AS is_supported
    FROM tested AS t
    CROSS JOIN constants AS k
),
answered AS (
    SELECT
        j.*,
        row_number() OVER (
            PARTITION BY j.question_id
            ORDER BY
                j.verdict = 'cannot be asked',
                round(CASE j.claim WHEN 'equivalent' THEN -abs(j.gain) ELSE j.gain END * k.steps_of_ties) DESC NULLS LAST,
                j.sparsity, j.variant_id, j.comparison_id
        ) AS place
    FROM judged AS j
    CROSS JOIN constants AS k
)
SELECT
    a.* EXCLUDE (claim, is_primary, sparsity, gain, n_changed, has_credit),
    CASE
        WHEN a.test = 'tango' AND w.fewest_items <= a.n_items THEN w.fewest_items / a.n_items
        WHEN a.test = 'sign_flip' AND a.has_credit AND w.fewest_clusters <= a.n_clusters
            THEN least(
                w.fewest_clusters / (a.n_items::DOUBLE * a.n_languages),
                CASE WHEN a.p_value < 0.05 / a.n_family THEN abs(a.difference) END
            )
    END AS smallest_significant,
    CASE
        WHEN a.comparison_id = '' THEN m.detectable_difference
        WHEN a.test = 'tango' THEN greatest(i.detectable_difference, smallest_significant)
        WHEN coalesce(a.standard_error, 0) <= 0 THEN NULL
        WHEN a.test = 'minima'
            THEN greatest(a.difference - a.ci_low, a.ci_high - a.difference) * w.quantile / 1.959963984540054
                + 0.8416212335729143 * a.standard_error
        ELSE greatest((w.quantile + 0.8416212335729143) * a.standard_error, smallest_significant)
    END AS detectable_difference
FROM answered AS a
LEFT JOIN internal.test_powers AS w ON w.n_family = a.n_family AND w.n_items = 0 AND w.n_changed = 0
LEFT JOIN internal.mean_powers AS m ON m.question_id = a.question_id AND m.n_family = a.n_family AND a.comparison_id = ''
LEFT JOIN internal.test_powers AS i
    ON i.n_family = a.n_family AND i.n_items = a.n_items AND a.test = 'tango'
    AND i.n_changed = least(
        a.n_items,
        CASE
            WHEN a.n_changed < 100 THEN a.n_changed
            WHEN a.n_changed < 1000 THEN (a.n_changed + 9) // 10 * 10
            ELSE (a.n_changed + 99) // 100 * 100
        END
    );
-- n_tests: number of tests of the question; NULL unless it is primary
-- n_questions: number of primary questions of the recipe, which share the level of 5 %; NULL unless it is primary
-- n_family: n_tests times n_questions times n_known_baselines: the smallest p-value is compared with 0.05 divided by it. Of the difference of an exploratory question the number of tests in the family; NULL if it is in none
-- p_corrected: p_value after correction over the family; NULL without one
-- p_margin_corrected: p_margin after correction over the family; NULL for a gain, and unless the question is primary
-- p_opposite_corrected: p-value of the opposite of a claim with a margin, that the difference is not inside the margin: p_opposite (in records before version 3: 1 - p_margin, equivalent: twice this) times n_family; NULL for a gain, and unless the question is primary
-- verdict_reason: why the question cannot be asked: its baseline, or for equivalence both sides, are at chance or at the best value, or the same question was declared with more variants and replaces it; NULL otherwise
-- ci_level: level of the interval that belongs to the claim: 0.95 for a gain (ci_low, ci_high), 0.9 for a margin (ci90_low, ci90_high)
-- verdict: yes: the claim of a primary question is shown at 5 % after correction; no: its opposite is, at the same level; not shown: neither is; exploratory: the question is not primary; cannot be asked: see verdict_reason
-- is_supported: whether verdict is yes
-- place: 1 for the best test of the question, the one with the largest gain (equivalent: the smallest absolute difference), in steps of 2^-30; of equal ones, the lower sparsity, then the smaller variant_id
-- smallest_significant: smallest difference that the first step of Holm's correction over the family can find, if all changed items change in one direction, one in each cluster; NULL without a family, unless items are right or wrong, for the worst language and for the mean over variants
-- detectable_difference: true difference that this step finds with a power of 80 % if the error, or the share of changed items, is as estimated, at least smallest_significant; of a claim about a margin of a mean over variants, the margin that it then shows if the true difference is 0; NULL without a family, or if nothing changed
-- arithmetic_noise: largest change of such a difference that was measured between two processors (definitions.md): a smaller difference may be due to the processor; NULL if it is negligible (float32) or was not measured
-- mask_agreement: share of the weights that a variant and its nearest variant with results both keep or both remove, the largest of the question's variants for a mean; NULL if no such variant had results
-- nearest_variant_id: the nearest variant of mask_agreement
-- n_known_baselines: number of choices among the baselines with results before the declaration that differ in seeds only, of one or of as many as a mean asks about; 1 if the question asks about all of them; NULL if the baseline had no results
-- remarks: these facts as text, with masks from an agreement of 99 % on; NULL for none
