-- pooled_languages: one row per comparison, metric and language outside English: its difference in a model over languages
CREATE OR REPLACE TABLE pooled_languages (
    comparison_id VARCHAR,           -- -> records.id: record of the comparison
    variant_id VARCHAR,              -- -> variants: the variant
    baseline_id VARCHAR,             -- -> variants: variant that it is compared with
    evaluation_id VARCHAR,           -- -> evaluations: evaluation of the variant
    baseline_evaluation_id VARCHAR,  -- -> evaluations: evaluation of the baseline
    task VARCHAR,                    -- task of both evaluations
    language VARCHAR,                -- language of both evaluations
    split VARCHAR,                   -- split of both evaluations
    metric VARCHAR,                  -- the metric
    scale VARCHAR,                   -- difference, nats for divergences, or log_ratio for perplexity
    n_languages BIGINT,              -- number of languages that are pooled
    difference DOUBLE,               -- difference of the language alone
    error DOUBLE,                    -- its standard error in the model: width of its 95 % interval / 3.92
    pooled DOUBLE,                   -- posterior mean of the language's true difference
    pooled_ci_low DOUBLE,            -- lower end of its 95 % interval
    pooled_ci_high DOUBLE,           -- upper end of its 95 % interval
    mean DOUBLE,                     -- posterior mean of the mean over all languages of the kind
    mean_ci_low DOUBLE,              -- lower end of its 95 % interval
    mean_ci_high DOUBLE,             -- upper end of its 95 % interval
    new_language_ci_low DOUBLE,      -- lower end of the 95 % interval of the true difference of a further language
    new_language_ci_high DOUBLE,     -- upper end of that interval
    deviation DOUBLE,                -- posterior median of the standard deviation of the true differences over languages
    deviation_ci_low DOUBLE,         -- lower end of its 95 % interval
    deviation_ci_high DOUBLE,        -- upper end of its 95 % interval
    PRIMARY KEY (comparison_id, metric, language)
);
