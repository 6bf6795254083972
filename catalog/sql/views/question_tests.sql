-- question_tests: one row per recipe and test of a primary question that it declares, with its p-value corrected over all
-- primary questions of the recipe (docs/protocol.md has the procedure, docs/definitions.md the formula). A question of a
-- damaged or quarantined record that the recipe no longer declares counts as not rejected.
CREATE OR REPLACE VIEW internal.question_tests AS
WITH declared AS (
    SELECT
        q.question_id, q.name, q.task, q.split, q.metric, q.group_kind, q.group_name, q.claim, q.over, q.criterion_id,
        count(*) AS n_pairs,
        md5(string_agg(
            concat_ws(' ', q.criterion_id, v.variant_id, v.baseline_id), ' ' ORDER BY v.variant_id, v.baseline_id
        )) AS class_id
    FROM questions AS q
    JOIN question_variants AS v ON v.question_id = q.question_id
    WHERE q.is_primary
    GROUP BY ALL
),
class_pairs AS (
    SELECT DISTINCT d.class_id, d.criterion_id, d.n_pairs, v.variant_id, v.baseline_id
    FROM declared AS d
    JOIN question_variants AS v ON v.question_id = d.question_id
),
extended AS (
    SELECT a.class_id, b.class_id AS larger_id
    FROM class_pairs AS a
    JOIN class_pairs AS b
        ON b.criterion_id = a.criterion_id AND b.variant_id = a.variant_id AND b.baseline_id = a.baseline_id
    GROUP BY a.class_id, b.class_id, a.n_pairs
    HAVING count(*) = a.n_pairs
),
answered AS (
    SELECT DISTINCT d.class_id
    FROM declared AS d
    JOIN answer_results AS a ON a.question_id = d.question_id
),
asked AS (
    SELECT recipe, question_id
    FROM (SELECT recipe, question_id FROM recipe_questions UNION SELECT recipe, question_id FROM questions)
    SEMI JOIN declared USING (question_id)
),
lost AS (
    SELECT DISTINCT recipe, question_id AS class_id FROM quarantined_questions ANTI JOIN asked USING (recipe, question_id)
),
members AS (
    SELECT DISTINCT r.recipe, e.larger_id AS class_id
    FROM asked AS r
    JOIN declared AS d ON d.question_id = r.question_id
    JOIN extended AS e ON e.class_id = d.class_id
    LEFT JOIN answered AS a ON a.class_id = e.larger_id
    WHERE e.larger_id = e.class_id OR a.class_id IS NOT NULL
),
replaced AS (
    SELECT DISTINCT e.class_id
    FROM extended AS e
    JOIN declared AS a ON a.class_id = e.class_id
    JOIN declared AS b ON b.class_id = e.larger_id AND b.name = a.name
    JOIN answered AS n ON n.class_id = e.larger_id
    WHERE e.larger_id <> e.class_id
),
current_members AS (
    SELECT * FROM members ANTI JOIN replaced USING (class_id)
),
own_tests AS (
    SELECT
        d.*,
        a.comparison_id, a.variant_id, a.baseline_id,
        CASE d.claim WHEN 'gain' THEN a.p_value ELSE a.p_margin END AS p_value,
        coalesce(m.n_known_baselines, 1) AS n_baselines,
        CASE d.claim WHEN 'gain' THEN a.p_value ELSE a.p_margin END * n_baselines AS p_tested,
        CASE d.over WHEN 'mean' THEN 1 ELSE d.n_pairs END AS n_tests
    FROM declared AS d
    ANTI JOIN internal.outdone_questions AS u ON u.question_id = d.question_id
    JOIN answer_results AS a ON a.question_id = d.question_id
    LEFT JOIN internal.answer_remarks AS m ON m.question_id = a.question_id AND m.comparison_id = a.comparison_id
),
single_tests AS (
    SELECT o.*, c.language, c.p_value AS language_p_value
    FROM own_tests AS o
    JOIN aggregate_results AS g
        ON g.comparison_id = o.comparison_id AND g.metric = o.metric AND g.group_kind = o.group_kind
        AND g.group_name = o.group_name
    JOIN comparison_results AS c
        ON c.variant_id = g.variant_id AND c.baseline_id = g.baseline_id AND c.task = g.task AND c.split = g.split
        AND c.metric = g.metric AND list_contains(string_split(g.languages, ' '), c.language)
        AND c.scoring_rule IS NOT DISTINCT FROM g.scoring_rule AND c.protocol_id IS NOT DISTINCT FROM g.protocol_id
        AND c.example_limit IS NOT DISTINCT FROM g.example_limit
    WHERE o.n_pairs = 1 AND o.claim = 'gain' AND o.over = 'each' AND o.group_kind <> 'worst'
        AND o.p_value IS NOT NULL AND c.test IS NOT NULL AND c.p_value IS NOT NULL
),
tests AS (
    SELECT
        * EXCLUDE (n_pairs),
        '' AS language, 0.0 AS gate,
        rank() OVER (PARTITION BY question_id ORDER BY p_tested NULLS LAST) AS place,
        count(p_value) OVER (PARTITION BY question_id) < n_tests AS is_incomplete
    FROM own_tests
    UNION ALL BY NAME
    SELECT
        * EXCLUDE (n_pairs, p_value, p_tested, n_tests, language_p_value),
        p_tested AS gate,
        language_p_value AS p_value,
        language_p_value * n_baselines AS p_tested,
        count(*) OVER (PARTITION BY question_id) AS n_tests,
        rank() OVER (PARTITION BY question_id ORDER BY language_p_value) AS place,
        false AS is_incomplete
    FROM single_tests
),
within_questions AS (
    SELECT
        *,
        greatest(gate, max((n_tests - place + 1) * p_tested) OVER (
            PARTITION BY question_id, language <> '' ORDER BY p_tested NULLS LAST
        )) AS p_within
    FROM tests
),
questions_of_recipes AS (
    SELECT
        m.recipe, m.class_id, count(*) OVER (PARTITION BY m.recipe) AS n_questions,
        coalesce(q.p_value, 1) AS p_value,
        row_number() OVER (PARTITION BY m.recipe ORDER BY coalesce(q.p_value, 1), m.class_id) AS place
    FROM (SELECT recipe, class_id FROM current_members UNION ALL SELECT recipe, class_id FROM lost) AS m
    LEFT JOIN (
        SELECT class_id, CASE WHEN bool_or(is_incomplete) THEN 1 ELSE max(p_within) END AS p_value
        FROM within_questions
        GROUP BY class_id
    ) AS q ON q.class_id = m.class_id
),
steps AS (
    SELECT DISTINCT recipe, n_questions, 0 AS n_rejected, 0.0 AS p_rejected
    FROM questions_of_recipes
    UNION ALL
    SELECT
        recipe, n_questions, place,
        max((n_questions - place + 1) * p_value) OVER (PARTITION BY recipe ORDER BY place)
    FROM questions_of_recipes
)
SELECT
    m.recipe, w.question_id, w.name, w.comparison_id, w.variant_id, w.baseline_id, w.task, w.split, w.metric,
    w.group_kind, w.group_name, w.claim, w.over, w.language, w.p_value, w.n_tests, s.n_questions,
    w.n_tests * s.n_questions * w.n_baselines AS n_family,
    least(1, min(greatest(s.p_rejected, (s.n_questions - s.n_rejected) * w.p_within))) AS p_corrected
FROM within_questions AS w
JOIN current_members AS m ON m.class_id = w.class_id
JOIN steps AS s ON s.recipe = m.recipe AND s.n_rejected < s.n_questions AND s.p_rejected < 1
WHERE w.p_value IS NOT NULL
GROUP BY ALL;
-- comparison_id: record of the comparison; empty for the mean over variants
-- language: empty for a test of the question itself; the language for one that follows the mean over several
-- p_value: p-value of the claim without correction: p_value of a gain, else p_margin
-- n_tests: number of tests of the question of this kind
-- n_questions: number of primary questions of the recipe, with those of damaged and quarantined records
-- n_family: n_tests times n_questions times the number of known baselines: the smallest p-value is compared with 0.05 divided by it
-- p_corrected: p-value after correction over the questions of the recipe
