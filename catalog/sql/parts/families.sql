-- families: one row per row of the common table expression `members` (each a possible test, with the primary question
-- that covers it), with the family of tests that it belongs to and its p-values after the corrections over the family:
-- p_corrected is that of the question or else Holm's, q_bh that of Benjamini and Hochberg. A row that is not a test (not
-- is_test) has no family.
WITH named AS (
    SELECT
        *,
        CASE
            WHEN NOT is_test THEN NULL
            WHEN question IS NOT NULL THEN question.name || ' #' || left(question.question_id, 8)
            ELSE concat_ws(
                ' ', measure, CASE WHEN scoring_rule NOT IN ('mean', 'greedy', 'sum') THEN scoring_rule END,
                nullif(profile, 'corrected'), 'against', CASE WHEN is_against_dense THEN 'dense' ELSE 'others' END,
                '#' || left(md5(conditions), 8)
            )
        END AS test_family,
        CASE WHEN is_test THEN question.question_id END AS question_id,
        CASE WHEN is_test THEN question IS NOT NULL END AS is_primary
    FROM members
),
ranked AS (
    SELECT
        *,
        count(p_value) OVER of_family AS n_tests,
        rank() OVER by_p AS place,
        p_value / nullif(count(p_value) OVER by_p, 0) * count(p_value) OVER of_family AS expected
    FROM named
    WINDOW of_family AS (PARTITION BY test_family), by_p AS (PARTITION BY test_family ORDER BY p_value NULLS LAST)
)
SELECT
    * EXCLUDE (question),
    CASE WHEN test_family IS NOT NULL THEN coalesce(question.n_family, n_tests) END AS n_family,
    CASE WHEN test_family IS NOT NULL AND p_value IS NOT NULL THEN coalesce(
        question.p_corrected,
        least(1, max((n_tests - place + 1) * p_value) OVER (PARTITION BY test_family ORDER BY p_value NULLS LAST))
    ) END AS p_corrected,
    CASE WHEN test_family IS NOT NULL AND p_value IS NOT NULL THEN
        least(1, min(expected) OVER (PARTITION BY test_family ORDER BY p_value DESC NULLS LAST))
    END AS q_bh
FROM ranked
