-- answer_limits: one row per answer whose metric is known of both sides: whether they are at chance or at the best value.
-- A language is at chance if limit_reached is floor. The mean over several is if (mean of value - chance) / (mean standard
-- error) < 1.645: languages may share their items, and the mean of the errors is never below the error of the mean. A mean
-- is at the ceiling if all its languages are. Of the worst language, that of each side counts. The mean over variants has
-- a limit if all its comparisons have it.
CREATE OR REPLACE VIEW internal.answer_limits AS
WITH compared AS (
    SELECT DISTINCT comparison_id, variant_id, baseline_id, task, split, metric FROM comparison_results
),
parts AS (
    SELECT a.question_id, a.comparison_id, a.comparison_id AS part_id, q.metric, q.group_kind, q.group_name
    FROM answer_results AS a
    JOIN questions AS q ON q.question_id = a.question_id
    WHERE a.comparison_id <> ''
    UNION ALL
    SELECT a.question_id, a.comparison_id, c.comparison_id, q.metric, q.group_kind, q.group_name
    FROM answer_results AS a
    JOIN questions AS q ON q.question_id = a.question_id
    JOIN question_variants AS v ON v.question_id = a.question_id
    JOIN compared AS c
        ON c.variant_id = v.variant_id AND c.baseline_id = v.baseline_id AND c.task = q.task AND c.split = q.split
        AND c.metric = q.metric
    WHERE a.comparison_id = ''
),
languages AS (
    SELECT
        p.question_id, p.comparison_id, p.part_id, p.metric, r.evaluation_id, r.baseline_evaluation_id,
        CASE WHEN p.group_kind = 'worst' THEN r.language = g.worst_language
            ELSE p.group_kind = 'language' OR list_contains(string_split(g.languages, ' '), r.language) END AS has_variant,
        CASE WHEN p.group_kind = 'worst' THEN r.language = g.baseline_worst_language ELSE has_variant END AS has_baseline
    FROM parts AS p
    JOIN comparison_results AS r ON r.comparison_id = p.part_id AND r.metric = p.metric
    LEFT JOIN aggregate_results AS g
        ON g.comparison_id = p.part_id AND g.metric = p.metric AND g.group_kind = p.group_kind
        AND g.group_name = p.group_name
    WHERE p.group_kind <> 'language' OR r.language = p.group_name
),
sides AS (
    SELECT question_id, comparison_id, part_id, metric, 'variant' AS side, evaluation_id FROM languages WHERE has_variant
    UNION ALL
    SELECT question_id, comparison_id, part_id, metric, 'baseline', baseline_evaluation_id FROM languages WHERE has_baseline
),
limits AS (
    SELECT
        s.question_id, s.comparison_id, s.part_id, s.side,
        coalesce(
            CASE count(*)
                WHEN 1 THEN bool_and(m.limit_reached = 'floor')
                ELSE count(m.chance) = count(*) AND avg(m.value - m.chance) < 1.645 * avg(m.standard_error)
            END, false) AS is_at_chance,
        bool_and(coalesce(m.limit_reached = 'ceiling', false)) AS is_at_ceiling
    FROM sides AS s
    JOIN metrics AS m ON m.evaluation_id = s.evaluation_id AND m.metric = s.metric
    GROUP BY ALL
)
SELECT
    question_id, comparison_id,
    bool_and(is_at_chance) FILTER (side = 'baseline') AS baseline_is_at_chance,
    bool_and(is_at_chance) FILTER (side = 'variant') AS variant_is_at_chance,
    bool_and(is_at_ceiling) FILTER (side = 'baseline') AS baseline_is_at_ceiling
FROM limits
GROUP BY question_id, comparison_id;
-- baseline_is_at_chance: whether the baseline is not shown to be above chance
-- variant_is_at_chance: whether the variant is not shown to be above chance
-- baseline_is_at_ceiling: whether the interval of the baseline reaches the best possible value, in every language
