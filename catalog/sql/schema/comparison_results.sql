-- comparison_results: one row per metric and pair of evaluations of the same examples: a variant compared with a baseline
CREATE OR REPLACE TABLE comparison_results (
    step_version INTEGER,            -- version of the step that made the record; of several versions of one row, the latest is here
    comparison_id VARCHAR,           -- -> records.id: record of the comparison
    variant_id VARCHAR,              -- -> variants: the variant
    baseline_id VARCHAR,             -- -> variants: variant that it is compared with: the dense model unless the recipe names another one
    evaluation_id VARCHAR,           -- -> evaluations: evaluation of the variant
    baseline_evaluation_id VARCHAR,  -- -> evaluations: evaluation of the baseline
    task VARCHAR,                    -- task of both evaluations
    language VARCHAR,                -- language of both evaluations
    split VARCHAR,                   -- split of both evaluations
    metric VARCHAR,                  -- the metric
    difference DOUBLE,               -- the variant's value minus the baseline's; if scale is log_ratio, the logarithm of the variant's value divided by the baseline's
    scale VARCHAR,                   -- difference, nats for divergences, or log_ratio for perplexity: exp(difference) is the ratio of the two values
    ci_low DOUBLE,                   -- lower end of the difference's 95 % interval
    ci_high DOUBLE,                  -- upper end of the difference's 95 % interval
    ci90_low DOUBLE,                 -- lower end of the 90 % interval by the same method, inside the 95 % one
    ci90_high DOUBLE,                -- upper end of the 90 % interval
    interval VARCHAR,                -- method of the interval: tango, sign_flip, bca, debiased or score
    p_value DOUBLE,                  -- two-sided p-value of the test, without correction for other comparisons; NULL if it is not tested: a calibration error that no question asks for
    test VARCHAR,                    -- method of p_value: tango, sign_flip or randomization; NULL if it is not tested
    p_mid_mcnemar DOUBLE,            -- two-sided p-value of McNemar's mid-p test, which takes items as independent; NULL unless every item is right or wrong
    interval_contradicts_p BOOLEAN,  -- whether p_value < 0.05 and 0 is in the interval, or p_value >= 0.05 and 0 is outside; NULL if it is not tested
    standard_error DOUBLE,           -- standard error of the difference; clusters of items are independent, items of one cluster are not
    n BIGINT,                        -- number of items
    n_clusters BIGINT,               -- number of clusters of items
    n_gained BIGINT,                 -- number of items with more credit than under the baseline; NULL if items have no credit
    n_lost BIGINT,                   -- number of items with less credit than under the baseline; NULL if items have no credit
    scoring_rule VARCHAR,            -- scoring rule of both evaluations
    prompt_language VARCHAR,         -- prompt language of both evaluations
    example_limit BIGINT,            -- number of examples that were asked for; NULL for the full split
    protocol_id VARCHAR,             -- protocol of both evaluations
    profile VARCHAR,                 -- profile of both evaluations: corrected or paper
    PRIMARY KEY (evaluation_id, baseline_evaluation_id, metric)
);
