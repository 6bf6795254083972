-- contradictions: one row per kind of contradiction between stored values, with the number of rows that have it and one
-- of them. Intervals that do not invert their test (bca, debiased, score) may disagree with it if the row says so. A value
-- that follows from another one may differ by rounding (1e-9).
WITH compared AS (
    SELECT
        'comparisons' AS location, comparison_id || ' ' || metric || ' ' || language AS row_name,
        difference, ci_low, ci_high, ci90_low, ci90_high, interval, p_value AS p, interval_contradicts_p AS says_so,
        p_corrected, n_family, detectable_difference,
        CASE WHEN n_gained IS NOT NULL THEN smallest_significant END AS smallest_significant
    FROM internal.comparisons
    UNION ALL BY NAME
    SELECT
        'aggregates' AS location, concat_ws(' ', comparison_id, metric, group_kind, group_name) AS row_name,
        difference, ci_low, ci_high, ci90_low, ci90_high, interval, p_value AS p, interval_contradicts_p AS says_so,
        p_corrected, n_family, detectable_difference
    FROM internal.aggregates
    UNION ALL BY NAME
    SELECT
        'answers' AS location, concat_ws(' ', question_id, comparison_id) AS row_name,
        difference, ci_low, ci_high, ci90_low, ci90_high, interval, p_value AS p,
        p_corrected, n_family, smallest_significant, detectable_difference
    FROM internal.verdicts
    UNION ALL BY NAME
    SELECT
        'choices' AS location, concat_ws(' ', choice_id, group_kind, group_name) AS row_name,
        difference, ci_low, ci_high, interval, p_value AS p
    FROM choices
    WHERE is_chosen AND variant_id <> baseline_id
    UNION ALL BY NAME
    SELECT
        'rank_consistency' AS location,
        concat_ws(' ', variant_id, task, split, language, reference_language) AS row_name,
        difference, difference_ci_low AS ci_low, difference_ci_high AS ci_high, 'sign_flip' AS interval, p_value AS p
    FROM rank_consistency
),
tested AS (
    SELECT
        *,
        interval IN ('bca', 'debiased', 'score') AS is_other,
        CASE
            WHEN p < 0.05 THEN ci_low < 0 AND ci_high > 0 OR ci_low = 0 AND ci_high = 0
            WHEN p >= 0.05 THEN ci_low > 0 OR ci_high < 0
        END AS disagrees
    FROM compared
),
claims AS (
    SELECT
        a.*, concat_ws(' ', a.question_id, a.comparison_id) AS row_name, q.claim,
        CASE WHEN d.higher_is_better THEN a.ci90_low ELSE -a.ci90_high END AS worst,
        CASE WHEN d.higher_is_better THEN a.ci90_high ELSE -a.ci90_low END AS best
    FROM internal.verdicts AS a
    JOIN questions AS q USING (question_id)
    JOIN (SELECT metric, bool_and(higher_is_better) AS higher_is_better FROM metrics GROUP BY metric) AS d
        ON d.metric = q.metric
),
values_of_pairs AS (
    SELECT
        c.comparison_id || ' ' || c.metric || ' ' || c.language AS row_name, c.difference, c.n, c.test, c.n_gained, c.n_lost,
        CASE c.scale WHEN 'log_ratio' THEN ln(v.value / b.value) ELSE v.value - b.value END AS expected,
        c.n <> v.n OR c.n <> b.n AS has_other_items
    FROM comparison_results AS c
    JOIN metrics AS v ON v.evaluation_id = c.evaluation_id AND v.metric = c.metric
    JOIN metrics AS b ON b.evaluation_id = c.baseline_evaluation_id AND b.metric = c.metric
),
found AS (
    SELECT location, row_name, 'p_value and the interval disagree about 0' AS problem
    FROM tested
    WHERE disagrees AND NOT coalesce(is_other, false)
    UNION ALL
    SELECT location, row_name, 'interval_contradicts_p is not what p_value and the interval say'
    FROM tested
    WHERE p IS NOT NULL AND says_so <> disagrees
    UNION ALL
    SELECT location, row_name, 'the 90 % interval is not inside the 95 % one'
    FROM tested
    WHERE ci90_low < ci_low - 1e-9 OR ci90_high > ci_high + 1e-9 OR ci90_low > ci90_high OR ci_low > ci_high
    UNION ALL
    SELECT location, row_name, 'the difference is outside its interval'
    FROM tested
    WHERE interval <> 'debiased' AND (difference < ci_low - 1e-9 OR difference > ci_high + 1e-9)
    UNION ALL
    SELECT location, row_name, 'a p-value is not a probability, or becomes smaller when it is corrected'
    FROM tested
    WHERE p NOT BETWEEN 0 AND 1 OR p_corrected > 1 OR p_corrected < p - 1e-12
    UNION ALL
    SELECT location, row_name, 'a difference that is significant at the first step is below smallest_significant'
    FROM tested
    WHERE p < 0.05 / n_family AND abs(difference) < smallest_significant - 1e-9
    UNION ALL
    SELECT location, row_name, 'detectable_difference is below smallest_significant'
    FROM tested
    WHERE detectable_difference < smallest_significant - 1e-9
    UNION ALL
    SELECT 'answers', row_name, 'p_margin and the 90 % interval disagree about the margin'
    FROM claims
    WHERE interval NOT IN ('bca', 'debiased', 'score') AND CASE
        WHEN p_margin < 0.05 THEN worst < -margin - 1e-9 OR claim = 'equivalent' AND best > margin + 1e-9
        WHEN p_margin >= 0.05 THEN worst > -margin + 1e-9 AND (claim <> 'equivalent' OR best < margin - 1e-9)
    END
    UNION ALL
    SELECT 'answers', row_name, 'the claim is supported, but its own test does not reject'
    FROM claims
    WHERE is_supported AND coalesce(CASE claim WHEN 'gain' THEN p_value ELSE p_margin END, 1) >= 0.05
    UNION ALL
    SELECT 'answers', concat_ws(' ', a.question_id, a.comparison_id), 'the answer differs from its comparison'
    FROM answer_results AS a
    JOIN questions AS q ON q.question_id = a.question_id AND q.group_kind = 'language'
    JOIN comparison_results AS c
        ON c.comparison_id = a.comparison_id AND c.metric = q.metric AND c.language = q.group_name
    WHERE abs(a.difference - c.difference) > 1e-9 OR abs(a.p_value - c.p_value) > 1e-9
    UNION ALL
    SELECT 'answers', concat_ws(' ', a.question_id, a.comparison_id), 'the answer differs from its comparison'
    FROM answer_results AS a
    JOIN questions AS q ON q.question_id = a.question_id
    JOIN aggregate_results AS c
        ON c.comparison_id = a.comparison_id AND c.metric = q.metric AND c.group_kind = q.group_kind
        AND c.group_name = q.group_name
    WHERE abs(a.difference - c.difference) > 1e-9 OR abs(a.p_value - c.p_value) > 1e-9
    UNION ALL
    SELECT 'comparison_results', row_name, 'the difference is not that of the two values'
    FROM values_of_pairs
    WHERE abs(difference - expected) > 1e-9 OR has_other_items
    UNION ALL
    SELECT 'comparison_results', row_name, 'the difference is not that of the gained and lost items'
    FROM values_of_pairs
    WHERE test = 'tango' AND abs(difference - (n_gained - n_lost) / n) > 1e-9
    UNION ALL
    SELECT
        'aggregate_results', concat_ws(' ', comparison_id, metric, group_kind, group_name),
        'the difference is not that of the two values'
    FROM aggregate_results
    WHERE abs(difference - CASE scale WHEN 'log_ratio' THEN ln(value / baseline_value) ELSE value - baseline_value END) > 1e-9
    UNION ALL
    SELECT 'metrics', evaluation_id || ' ' || metric, 'limit_reached is not what p_chance says'
    FROM metrics
    WHERE p_chance IS NOT NULL AND (p_chance >= 0.05) <> (coalesce(limit_reached, '') = 'floor')
    UNION ALL
    SELECT 'metrics', evaluation_id || ' ' || metric, 'the value is outside its interval'
    FROM metrics
    WHERE interval <> 'debiased' AND (value < ci_low - 1e-9 OR value > ci_high + 1e-9)
)
SELECT location, problem, count(*) AS n_rows, min(row_name) AS example
FROM found
GROUP BY location, problem
ORDER BY location, problem;
