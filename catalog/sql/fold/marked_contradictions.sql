-- marked_contradictions: one row: numbers of tested comparisons and groups whose row says that interval and p_value disagree
SELECT
    (SELECT count(*) FROM internal.comparisons WHERE interval_contradicts_p AND p_value IS NOT NULL) AS n_comparisons,
    (SELECT count(*) FROM internal.aggregates WHERE interval_contradicts_p AND p_value IS NOT NULL) AS n_aggregates;
