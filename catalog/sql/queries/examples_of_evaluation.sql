-- examples_of_evaluation: one row per example of an evaluation with candidates: the right candidate, the chosen one
-- (several, separated by a bar, if their scores are equal), the rank of the right one, and its log-likelihood.
-- topic: origin
-- $evaluation_id VARCHAR
-- reads predictions from predictions of $evaluation_id
SELECT
    example_id,
    max(candidate) FILTER (is_gold) AS gold,
    string_agg(candidate, ' | ' ORDER BY candidate_index) FILTER (rank = 1) AS chosen,
    bool_or(is_gold AND rank = 1) AND count(*) FILTER (rank = 1) = 1 AS is_right,
    max(rank) FILTER (is_gold) AS gold_rank,
    count(*) AS n_candidates,
    max(log_likelihood) FILTER (is_gold) AS gold_log_likelihood
FROM predictions
GROUP BY example_id
ORDER BY example_id;
