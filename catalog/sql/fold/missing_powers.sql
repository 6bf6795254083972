-- missing_powers: one row per size of a family, number of items and of changed items that `test_powers` lacks
WITH families AS (
    SELECT DISTINCT n_family, 0 AS n_items, 0 AS n_changed FROM comparison_families WHERE n_family > 0
    UNION
    SELECT DISTINCT n_family, 0, 0 FROM aggregate_families WHERE n_family > 0
    UNION
    SELECT DISTINCT f.n_family, c.n, c.n_gained + c.n_lost
    FROM comparison_families AS f
    JOIN comparison_results AS c
        ON c.evaluation_id = f.evaluation_id
        AND c.baseline_evaluation_id = f.baseline_evaluation_id
        AND c.metric = f.metric
    WHERE f.n_family > 0 AND c.test = 'tango' AND c.n > 0 AND c.n_gained + c.n_lost IS NOT NULL
    UNION
    SELECT DISTINCT n_family, 0, 0 FROM question_tests
    UNION
    SELECT DISTINCT q.n_family, c.n, c.n_gained + c.n_lost
    FROM question_tests AS q
    JOIN comparison_results AS c
        ON c.comparison_id = q.comparison_id AND c.metric = q.metric AND c.language = q.group_name
    WHERE q.group_kind = 'language' AND c.test = 'tango' AND c.n > 0 AND c.n_gained + c.n_lost IS NOT NULL
)
SELECT n_family, n_items, n_changed
FROM families
ANTI JOIN test_powers USING (n_family, n_items, n_changed)
ORDER BY ALL;
