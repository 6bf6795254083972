-- examples_changed: one row per example whose choice differs between two evaluations of the same task and language,
-- such as a variant's and the dense model's. It answers which examples pruning gained and lost. change is gained, lost,
-- or other (wrong in both). Choices with equal scores are separated by a bar, and count as wrong.
-- topic: origin
-- $evaluation_id VARCHAR
-- $baseline_evaluation_id VARCHAR
-- reads predictions from predictions of $evaluation_id
-- reads baseline from predictions of $baseline_evaluation_id
WITH chosen AS (
    SELECT
        example_id,
        max(candidate) FILTER (is_gold) AS gold,
        string_agg(candidate, ' | ' ORDER BY candidate_index) FILTER (rank = 1) AS choice
    FROM predictions
    GROUP BY example_id
),
chosen_before AS (
    SELECT example_id, string_agg(candidate, ' | ' ORDER BY candidate_index) FILTER (rank = 1) AS choice
    FROM baseline
    GROUP BY example_id
)
SELECT
    example_id,
    CASE WHEN c.choice = c.gold THEN 'gained' WHEN b.choice = c.gold THEN 'lost' ELSE 'other' END AS change,
    c.gold,
    b.choice AS baseline_choice,
    c.choice
FROM chosen AS c
JOIN chosen_before AS b USING (example_id)
WHERE c.choice <> b.choice
ORDER BY change, example_id;
