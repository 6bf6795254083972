-- pareto_chances: one row per task and candidate: English and the mean of the other languages on dev and on test, and how surely it is on the Pareto front of dev
CREATE OR REPLACE TABLE pareto_chances (
    choice_id VARCHAR,               -- -> records.id: record of the choice
    variant_id VARCHAR,              -- -> variants: the candidate: the dense model or a pruned variant
    baseline_id VARCHAR,             -- -> variants: the dense model
    task VARCHAR,                    -- the task
    metric VARCHAR,                  -- metric of the values
    languages VARCHAR,               -- English and the other languages, sorted, with blanks between them
    n_others BIGINT,                 -- number of other languages
    n_candidates BIGINT,             -- number of candidates that were evaluated in all languages on dev
    dev_english_value DOUBLE,        -- value in English on dev
    dev_others_value DOUBLE,         -- mean over the other languages on dev; for perplexity, geometric mean
    test_english_value DOUBLE,       -- value in English on test; NULL without a test split
    test_others_value DOUBLE,        -- mean over the other languages on test
    on_front_dev BOOLEAN,            -- whether no other candidate is at least as good on dev in both values and better in one
    probability DOUBLE,              -- share of 1,999 resamples of the clusters of dev in which it is on this front
    keeps_both_dev BOOLEAN,          -- whether both values on dev are at least as good as those of the dense model
    keeps_both_probability DOUBLE,   -- share of the resamples of dev in which it keeps both
    on_front_test BOOLEAN,           -- whether it is on the front of test; report it only for candidates on the front of dev
    keeps_both_test BOOLEAN,         -- whether both values on test are at least as good as those of the dense model
    scoring_rule VARCHAR,            -- scoring rule of all evaluations
    protocol_id VARCHAR,             -- protocol of all evaluations
    dev_limit BIGINT,                -- number of examples that were asked for on dev; NULL for the full split
    example_limit BIGINT,            -- number of examples that were asked for on test; NULL for the full split
    PRIMARY KEY (choice_id, variant_id)
);
