-- repeated_comparisons: one row per comparison that does not count, since another of the same evaluations is more careful
CREATE OR REPLACE TABLE repeated_comparisons (
    comparison_id VARCHAR,           -- id of the record that holds the comparison
    evaluation_id VARCHAR,           -- -> evaluations: evaluation of the variant
    baseline_evaluation_id VARCHAR,  -- -> evaluations: evaluation of the baseline
    metric VARCHAR,                  -- metric that is compared
    PRIMARY KEY (comparison_id, evaluation_id, baseline_evaluation_id, metric)
);
