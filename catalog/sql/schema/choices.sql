-- choices: one row per task, criterion and candidate: its value on dev, by which one candidate is chosen, and what the chosen one is worth on test
CREATE OR REPLACE TABLE choices (
    choice_id VARCHAR,           -- -> records.id: record of the choice
    variant_id VARCHAR,          -- -> variants: the candidate: the dense model or a pruned variant
    baseline_id VARCHAR,         -- -> variants: the dense model
    task VARCHAR,                -- the task
    metric VARCHAR,              -- metric by which a candidate is chosen: accuracy; without it chrf, perplexity, or the first of the task
    group_kind VARCHAR,          -- criterion: language, outside_english (mean of the other languages) or worst (the candidate's worst language)
    group_name VARCHAR,          -- the language; empty for other criteria
    languages VARCHAR,           -- languages of the criterion, sorted, with blanks between them
    n_languages BIGINT,          -- number of languages
    n_candidates BIGINT,         -- number of candidates that were evaluated in all of these languages on dev
    dev_value DOUBLE,            -- the candidate's value on dev; for several languages of perplexity, geometric mean
    dev_difference DOUBLE,       -- dev_value minus that of the dense model, on the scale
    win_share DOUBLE,            -- share of 1,999 resamples of the clusters of dev in which the candidate is chosen
    n_tied BIGINT,               -- number of candidates with the best value on dev
    is_chosen BOOLEAN,           -- whether it is chosen: the best value on dev; of equal values the dense model, then the lower sparsity, then the smaller id
    test_value DOUBLE,           -- the candidate's value on test; NULL without a test split
    test_dense_value DOUBLE,     -- the dense model's value on test
    difference DOUBLE,           -- chosen candidate: test_value minus test_dense_value, on the scale; NULL for others
    ci_low DOUBLE,               -- lower end of the difference's 95 % interval; NULL for the dense model
    ci_high DOUBLE,              -- upper end of the difference's 95 % interval
    interval VARCHAR,            -- method of the interval
    standard_error DOUBLE,       -- standard error of the difference
    p_value DOUBLE,              -- two-sided p-value of the difference; NULL for the dense model
    test VARCHAR,                -- method of p_value
    n_items BIGINT,              -- number of different items on test
    n_clusters BIGINT,           -- number of different clusters of items on test
    scale VARCHAR,               -- difference, nats for divergences, or log_ratio for perplexity: exp(difference) is the ratio of the two values
    optimism DOUBLE,             -- chosen candidate: its gain over dense on dev minus that on test, on the scale; above 0, dev flatters it
    dev_n_items BIGINT,          -- number of different items on dev
    dev_n_clusters BIGINT,       -- number of different clusters of items on dev
    n_shared_items BIGINT,       -- number of items of test with the texts of an item of dev, which should be 0
    shared_clusters DOUBLE,      -- share of the clusters of test that also occur in dev: by name, or by an item with equal texts
    scoring_rule VARCHAR,        -- scoring rule of all evaluations
    protocol_id VARCHAR,         -- protocol of all evaluations
    dev_limit BIGINT,            -- number of examples that were asked for on dev; NULL for the full split
    example_limit BIGINT,        -- number of examples that were asked for on test; NULL for the full split
    dev_evaluation_id VARCHAR,   -- -> evaluations: the candidate on dev; NULL for several languages
    test_evaluation_id VARCHAR,  -- -> evaluations: the candidate on test; NULL for several languages
    PRIMARY KEY (choice_id, group_kind, group_name, variant_id)
);
