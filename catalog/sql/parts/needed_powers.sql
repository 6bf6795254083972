-- needed_powers: one row per size of a family, number of items and of changed items that views look up in `test_powers`.
-- From 100 on, the number of changed items is rounded up to tens, from 1,000 on to hundreds.
SELECT n_family, 0 AS n_items, 0 AS n_changed FROM internal.comparison_families WHERE n_family > 0
UNION
SELECT n_family, 0, 0 FROM internal.aggregate_families WHERE n_family > 0
UNION
SELECT
    f.n_family,
    c.n,
    least(
        c.n,
        CASE
            WHEN c.n_gained + c.n_lost < 100 THEN c.n_gained + c.n_lost
            WHEN c.n_gained + c.n_lost < 1000 THEN (c.n_gained + c.n_lost + 9) // 10 * 10
            ELSE (c.n_gained + c.n_lost + 99) // 100 * 100
        END
    )
FROM internal.comparison_families AS f
JOIN comparison_results AS c
    ON c.evaluation_id = f.evaluation_id
    AND c.baseline_evaluation_id = f.baseline_evaluation_id
    AND c.metric = f.metric
WHERE f.n_family > 0 AND c.test = 'tango' AND c.n > 0 AND c.n_gained + c.n_lost IS NOT NULL
UNION
SELECT n_family, 0, 0 FROM internal.question_tests WHERE n_family > 0
UNION
SELECT
    q.n_family,
    c.n,
    least(
        c.n,
        CASE
            WHEN c.n_gained + c.n_lost < 100 THEN c.n_gained + c.n_lost
            WHEN c.n_gained + c.n_lost < 1000 THEN (c.n_gained + c.n_lost + 9) // 10 * 10
            ELSE (c.n_gained + c.n_lost + 99) // 100 * 100
        END
    )
FROM internal.question_tests AS q
JOIN comparison_results AS c
    ON c.comparison_id = q.comparison_id AND c.metric = q.metric AND c.language = q.group_name
WHERE q.group_kind = 'language' AND c.test = 'tango' AND c.n > 0 AND c.n_gained + c.n_lost IS NOT NULL
