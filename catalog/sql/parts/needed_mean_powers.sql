-- needed_mean_powers: one row per answer about a mean over variants and size of its family, which views look up in
-- `mean_powers`, with the parts of its error
SELECT
    t.question_id, max(t.n_family) AS n_family, t.claim, a.n_seeds, a.n_baseline_seeds, a.n_clusters, a.error_of_seeds,
    a.error_of_baseline_seeds, a.error_of_items
FROM internal.question_tests AS t
JOIN answer_results AS a ON a.question_id = t.question_id AND a.comparison_id = t.comparison_id
WHERE t.over = 'mean' AND t.language = '' AND t.n_family > 0
GROUP BY ALL
