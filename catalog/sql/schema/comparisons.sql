-- comparisons: one row per pair of evaluations of the same examples, and metric: a variant against a baseline
CREATE OR REPLACE TABLE comparisons (
    comparison_id VARCHAR,           -- id of the record that holds the comparison
    variant_id VARCHAR,              -- -> variants: the variant
    baseline_id VARCHAR,             -- -> variants: the variant it is compared with: the dense one unless a recipe says otherwise
    evaluation_id VARCHAR,           -- -> evaluations: evaluation of the variant
    baseline_evaluation_id VARCHAR,  -- -> evaluations: evaluation of the baseline
    task VARCHAR,                    -- task of both evaluations
    language VARCHAR,                -- language of both evaluations
    split VARCHAR,                   -- split of both evaluations
    metric VARCHAR,                  -- metric that is compared
    difference DOUBLE,               -- the variant's value minus the baseline's
    ci_low DOUBLE,                   -- lower end of the difference's 95 % paired bootstrap interval
    ci_high DOUBLE,                  -- upper end of the difference's 95 % paired bootstrap interval
    p_value DOUBLE,                  -- two-sided: exact McNemar for accuracy, normal approximation for other metrics
    p_holm DOUBLE,                   -- Holm over the languages of one variant, baseline, task, split, metric and rule
    PRIMARY KEY (comparison_id, evaluation_id, baseline_evaluation_id, metric)
);
