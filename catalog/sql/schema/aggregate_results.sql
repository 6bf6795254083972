-- aggregate_results: one row per comparison, metric and group of languages: the mean of the languages' differences, or the difference of the worst languages
CREATE OR REPLACE TABLE aggregate_results (
    comparison_id VARCHAR,           -- -> records.id: record of the comparison, and name of its file in contributions/
    variant_id VARCHAR,              -- -> variants: the variant
    baseline_id VARCHAR,             -- -> variants: variant that it is compared with
    task VARCHAR,                    -- task of all evaluations
    split VARCHAR,                   -- split of all evaluations
    metric VARCHAR,                  -- the metric
    group_kind VARCHAR,              -- outside_english, all, script, resource_class, worst, or gap (the other languages minus English); English is in no script or resource_class
    group_name VARCHAR,              -- code of the script, number of the resource class, or the language of a gap; empty for other groups and for the gap of all languages
    languages VARCHAR,               -- languages of the group, sorted, with blanks between them
    n_languages BIGINT,              -- number of languages
    n_items BIGINT,                  -- number of different items, which languages may share
    n_clusters BIGINT,               -- number of different clusters of items, which languages share
    value DOUBLE,                    -- mean of the variant's values; for worst, the value of its worst language; for a gap, this mean minus English; for perplexity, geometric mean, or ratio to English
    baseline_value DOUBLE,           -- the same of the baseline
    worst_language VARCHAR,          -- worst: the variant's worst language; NULL for other groups
    baseline_worst_language VARCHAR, -- worst: the baseline's worst language; NULL for other groups
    difference DOUBLE,               -- value minus baseline_value; if scale is log_ratio, the logarithm of value divided by baseline_value
    scale VARCHAR,                   -- difference, nats for divergences, or log_ratio for perplexity: exp(difference) is the ratio of the two values
    ci_low DOUBLE,                   -- lower end of the difference's 95 % interval
    ci_high DOUBLE,                  -- upper end of the difference's 95 % interval
    ci90_low DOUBLE,                 -- lower end of the 90 % interval by the same method, inside the 95 % one
    ci90_high DOUBLE,                -- upper end of the 90 % interval
    interval VARCHAR,                -- method of the interval: sign_flip, bca or score; minima for worst
    standard_error DOUBLE,           -- standard deviation of the difference over resampled clusters
    p_value DOUBLE,                  -- two-sided p-value of the test, without correction for other comparisons
    test VARCHAR,                    -- method of p_value: sign_flip or randomization; minima for worst
    interval_contradicts_p BOOLEAN,  -- whether p_value < 0.05 and 0 is in the interval, or p_value >= 0.05 and 0 is outside
    n_flips BIGINT,                  -- number of random exchanges of variant and baseline that p_value is computed from
    scoring_rule VARCHAR,            -- scoring rule of all evaluations
    prompt_language VARCHAR,         -- prompt language of all evaluations; NULL if each has the prompts of its language
    example_limit BIGINT,            -- number of examples that were asked for; NULL for the full split
    protocol_id VARCHAR,             -- protocol of all evaluations
    profile VARCHAR,                 -- profile of all evaluations: corrected or paper
    PRIMARY KEY (comparison_id, metric, group_kind, group_name)
);
