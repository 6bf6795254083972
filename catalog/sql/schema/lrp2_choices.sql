-- lrp2_choices: one row per variant, task and language: the pair of blocks that was best on a split for development
CREATE OR REPLACE TABLE lrp2_choices (
    choice_id VARCHAR,        -- id of the choice, a parent of the evaluations that are made with it
    variant_id VARCHAR,       -- -> variants: the variant
    n_trials INTEGER,         -- pairs that were tried
    first_block INTEGER,      -- of the chosen pair: block behind which states are moved to English, counted from 0
    second_block INTEGER,     -- block behind which they are moved back
    task VARCHAR,             -- name of the task
    language VARCHAR,         -- language of the examples
    split VARCHAR,            -- split the choice was made on; never test
    scoring_rule VARCHAR,     -- as in evaluations
    prompt_language VARCHAR,  -- as in evaluations
    example_limit BIGINT,     -- as in evaluations, of the split the choice was made on
    protocol_id VARCHAR,      -- as in evaluations
    metric VARCHAR,           -- what pairs are compared by; of equal ones the lower pair is chosen
    value DOUBLE,             -- its value under the chosen pair
    n BIGINT,                 -- examples
    PRIMARY KEY (choice_id)
);
