-- repeated_comparisons: one row per comparison that is not used, because another one of the same evaluations is more conservative
CREATE OR REPLACE TABLE repeated_comparisons (
    comparison_id VARCHAR,           -- id of the comparison's record
    evaluation_id VARCHAR,           -- -> evaluations: evaluation of the variant
    baseline_evaluation_id VARCHAR,  -- -> evaluations: evaluation of the baseline
    metric VARCHAR,                  -- the metric
    PRIMARY KEY (comparison_id, evaluation_id, baseline_evaluation_id, metric)
);
