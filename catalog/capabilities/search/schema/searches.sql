-- searches: one row per report of a finished search: what was sought and how, what it cost, and what the winner is worth
CREATE OR REPLACE TABLE searches (
    result_id VARCHAR,                   -- -> records.id: record of the report
    search_id VARCHAR,                   -- id of the search, which names gives under the kind search
    direction VARCHAR,                   -- maximise or minimise
    objective VARCHAR,                   -- the objective
    constraints VARCHAR[],               -- constraints on the values on dev
    method VARCHAR,                      -- search method
    method_parameters JSON,              -- parameters of the method that are not at their defaults
    seed BIGINT,                         -- seed of the search
    budget JSON,                         -- n_variants or n_items; NULL for the whole space
    rungs BIGINT[],                      -- items per language of each rung; NULL for all
    n_trials BIGINT,                     -- number of trials
    n_variants BIGINT,                   -- number of different points of the space among them
    n_items BIGINT,                      -- items x languages that were scored for the trials, each evaluation once; the dense model's are not counted
    n_items_if_all_were_scored BIGINT,   -- items x languages if every point had been scored on all items
    variant_id VARCHAR,                  -- -> variants: the winner: the best trial of the highest rung; NULL if none of them meets the constraints
    number BIGINT,                       -- number of the winning trial
    item_limit BIGINT,                   -- items per language on which it won; NULL for all
    dev_value DOUBLE,                    -- objective of the winner on dev
    dev_ci_low DOUBLE,                   -- lower end of its 95 % interval, without a correction for the choice; NULL if it does not vary between resamples
    dev_ci_high DOUBLE,                  -- upper end of its 95 % interval
    dev_dense_value DOUBLE,              -- objective of the dense model on the same items; NULL without a winner
    test_value DOUBLE,                   -- objective of the winner on the split of the report
    test_ci_low DOUBLE,                  -- lower end of its 95 % interval
    test_ci_high DOUBLE,                 -- upper end of its 95 % interval
    test_dense_value DOUBLE,             -- objective of the dense model on the split of the report
    optimism DOUBLE,                     -- gain over dense on dev minus that on the split of the report, positive if dev flatters the winner
    optimism_ci_low DOUBLE,              -- lower end of its 95 % interval
    optimism_ci_high DOUBLE,             -- upper end of its 95 % interval
    PRIMARY KEY (result_id)
);
