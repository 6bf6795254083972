-- examples_of_evaluation: the answer to every item of an evaluation. One row per example of an evaluation: the right
-- candidate or the accepted answers, and what was chosen. With candidates: the chosen one (several, separated by a bar, if
-- their scores are equal), the rank of the right one, and its log-likelihood. With generated texts: the text, and as chosen
-- the answer that was read in it, or the text itself for a translation.
-- topic: origin
-- $evaluation_id VARCHAR
-- reads predictions from predictions of $evaluation_id
WITH columns_of_all_kinds AS (
    SELECT
        NULL::INTEGER AS candidate_index, NULL::VARCHAR AS candidate, NULL::BOOLEAN AS is_gold, NULL::INTEGER AS rank,
        NULL::DOUBLE AS log_likelihood, NULL::VARCHAR AS output, NULL::VARCHAR AS reference, NULL::VARCHAR AS answer,
        NULL::BOOLEAN AS is_right, NULL::DOUBLE AS token_f1
    LIMIT 0
),
rows_of_all_kinds AS (
    SELECT * FROM columns_of_all_kinds
    UNION ALL BY NAME
    SELECT * FROM predictions
)
SELECT
    example_id,
    coalesce(max(candidate) FILTER (is_gold), any_value(reference)) AS gold,
    coalesce(
        string_agg(candidate, ' | ' ORDER BY candidate_index) FILTER (rank = 1), any_value(answer), any_value(output)
    ) AS chosen,
    coalesce(
        any_value(is_right),
        any_value(trim(output) = trim(reference)),
        bool_or(is_gold AND rank = 1) AND count(*) FILTER (rank = 1) = 1
    ) AS is_right,
    max(rank) FILTER (is_gold) AS gold_rank,
    nullif(count(candidate), 0) AS n_candidates,
    max(log_likelihood) FILTER (is_gold) AS gold_log_likelihood,
    any_value(token_f1) AS token_f1,
    any_value(output) AS output
FROM rows_of_all_kinds
GROUP BY example_id
ORDER BY example_id;
