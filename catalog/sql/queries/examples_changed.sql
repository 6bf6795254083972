-- examples_changed: one row per example whose choice differs between two evaluations of the same task and language,
-- such as a variant's and the dense model's. It answers which examples pruning gained and lost. change is gained, lost,
-- or other (wrong in both, or right in both with other words). Choices with equal scores are separated by a bar, and
-- count as wrong. Of generated texts the answers are compared, and of translations the texts.
-- topic: origin
-- $evaluation_id VARCHAR
-- $baseline_evaluation_id VARCHAR
-- reads predictions from predictions of $evaluation_id
-- reads baseline from predictions of $baseline_evaluation_id
WITH columns_of_all_kinds AS (
    SELECT
        NULL::INTEGER AS candidate_index, NULL::VARCHAR AS candidate, NULL::BOOLEAN AS is_gold, NULL::INTEGER AS rank,
        NULL::VARCHAR AS output, NULL::VARCHAR AS reference, NULL::VARCHAR AS answer, NULL::BOOLEAN AS is_right
    LIMIT 0
),
after_rows AS (
    SELECT * FROM columns_of_all_kinds
    UNION ALL BY NAME
    SELECT * FROM predictions
),
before_rows AS (
    SELECT * FROM columns_of_all_kinds
    UNION ALL BY NAME
    SELECT * FROM baseline
),
chosen AS (
    SELECT
        example_id,
        coalesce(max(candidate) FILTER (is_gold), any_value(reference)) AS gold,
        coalesce(
            string_agg(candidate, ' | ' ORDER BY candidate_index) FILTER (rank = 1), any_value(answer),
            any_value(output)
        ) AS choice,
        any_value(is_right) AS is_right
    FROM after_rows
    GROUP BY example_id
),
chosen_before AS (
    SELECT
        example_id,
        coalesce(
            string_agg(candidate, ' | ' ORDER BY candidate_index) FILTER (rank = 1), any_value(answer),
            any_value(output)
        ) AS choice,
        any_value(is_right) AS is_right
    FROM before_rows
    GROUP BY example_id
),
judged AS (
    SELECT
        example_id, c.gold, b.choice AS baseline_choice, c.choice,
        coalesce(c.is_right, c.choice = c.gold) AS is_right,
        coalesce(b.is_right, b.choice = c.gold) AS was_right
    FROM chosen AS c
    JOIN chosen_before AS b USING (example_id)
    WHERE c.choice <> b.choice
)
SELECT
    example_id,
    CASE
        WHEN is_right AND NOT was_right THEN 'gained'
        WHEN was_right AND NOT is_right THEN 'lost'
        ELSE 'other'
    END AS change,
    gold,
    baseline_choice,
    choice
FROM judged
ORDER BY change, example_id;
