-- expert_tokens: one row per observation, demonstration set, block, side and language: counted tokens that reach each expert
CREATE OR REPLACE TABLE expert_tokens (
    observation_id VARCHAR,        -- id of the statistics; that of a sequential variant, whose blocks were observed after the pruned ones before
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: text that was observed
    block INTEGER,                 -- the block, from 0
    side VARCHAR,                  -- source, target, or other: template and special tokens
    language VARCHAR,              -- language of the tokens, as in demonstration_tokens
    n_tokens BIGINT[],             -- number of counted tokens that are routed to each expert of the block, from expert 0 on
    PRIMARY KEY (observation_id, demonstration_set_id, block, side, language)
);
