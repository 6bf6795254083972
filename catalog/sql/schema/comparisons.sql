-- comparisons: one row per metric and pair of evaluations of the same examples: a variant compared with a baseline
CREATE OR REPLACE TABLE comparisons (
    comparison_id VARCHAR,           -- id of the comparison's record
    variant_id VARCHAR,              -- -> variants: the variant
    baseline_id VARCHAR,             -- -> variants: variant that it is compared with: the dense model unless the recipe names another one
    evaluation_id VARCHAR,           -- -> evaluations: evaluation of the variant
    baseline_evaluation_id VARCHAR,  -- -> evaluations: evaluation of the baseline
    task VARCHAR,                    -- task of both evaluations
    language VARCHAR,                -- language of both evaluations
    split VARCHAR,                   -- split of both evaluations
    metric VARCHAR,                  -- the metric
    difference DOUBLE,               -- the variant's value minus the baseline's
    ci_low DOUBLE,                   -- lower end of the difference's 95 % paired bootstrap interval
    ci_high DOUBLE,                  -- upper end of the difference's 95 % paired bootstrap interval
    p_value DOUBLE,                  -- two-sided p-value: exact McNemar test for accuracy, normal approximation for other metrics
    p_holm DOUBLE,                   -- p_value after Holm's correction over the languages of one variant, baseline, task, split, metric, rule and protocol
    profile VARCHAR,                 -- profile of both evaluations: corrected or paper
    PRIMARY KEY (comparison_id, evaluation_id, baseline_evaluation_id, metric)
);
