-- lrp2_trials: one row per pair of blocks that LRP2 was tried with, task and language, on a development split
CREATE OR REPLACE TABLE lrp2_trials (
    trial_id VARCHAR,         -- id of the trial
    base_model_id VARCHAR,    -- -> base_models: the model
    first_block INTEGER,      -- block after which states are moved to English, from 0
    second_block INTEGER,     -- block after which states are moved back
    task VARCHAR,             -- name of the task
    language VARCHAR,         -- language of the examples
    split VARCHAR,            -- split of the examples; never test
    scoring_rule VARCHAR,     -- as in evaluations
    prompt_language VARCHAR,  -- as in evaluations
    example_limit BIGINT,     -- as in evaluations
    protocol_id VARCHAR,      -- as in evaluations
    prompts VARCHAR,          -- as in evaluations
    limit_seed BIGINT,        -- as in evaluations
    n_shots BIGINT,           -- as in evaluations
    shot_seed BIGINT,         -- as in evaluations
    max_new_tokens BIGINT,    -- as in evaluations
    metric_names VARCHAR[],   -- as in evaluations
    subset_n_asked BIGINT,    -- as in evaluations
    subset_sha256 VARCHAR,    -- as in evaluations
    profile VARCHAR,          -- as in evaluations
    split_by VARCHAR,         -- as in evaluations
    longer VARCHAR,           -- as in evaluations
    chat_template_sha256 VARCHAR,  -- as in evaluations
    chat_system VARCHAR,      -- as in evaluations
    metric VARCHAR,           -- metric that pairs are compared by: accuracy, or perplexity for tasks without candidates
    value DOUBLE,             -- value of the metric
    n BIGINT,                 -- number of examples
    PRIMARY KEY (trial_id)
);
