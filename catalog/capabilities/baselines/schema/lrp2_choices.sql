-- lrp2_choices: one row per variant, task and language: the pair of blocks that was best on a development split
CREATE OR REPLACE TABLE lrp2_choices (
    choice_id VARCHAR,        -- id of the choice, a parent of the evaluations that use it
    variant_id VARCHAR,       -- -> variants: the variant
    n_trials INTEGER,         -- number of pairs that were tried
    first_block INTEGER,      -- first block of the chosen pair, from 0: states are moved to English after it
    second_block INTEGER,     -- second block of the chosen pair: states are moved back after it
    task VARCHAR,             -- name of the task
    language VARCHAR,         -- language of the examples
    split VARCHAR,            -- split that the choice was made on; never test
    scoring_rule VARCHAR,     -- as in evaluations
    prompt_language VARCHAR,  -- as in evaluations
    example_limit BIGINT,     -- as in evaluations, for the split that the choice was made on
    protocol_id VARCHAR,      -- as in evaluations
    metric VARCHAR,           -- metric that pairs are compared by; of equally good pairs, the one with the lower blocks is chosen
    value DOUBLE,             -- value under the chosen pair
    n BIGINT,                 -- number of examples
    PRIMARY KEY (choice_id)
);
