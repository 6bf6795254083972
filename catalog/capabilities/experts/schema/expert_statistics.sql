-- expert_statistics: one row per demonstration set, block, expert and role of the tokens: what the expert of the dense model does for them
CREATE OR REPLACE TABLE expert_statistics (
    expert_statistics_id VARCHAR,  -- id of the record
    base_model_id VARCHAR,         -- -> base_models: unpruned model that was observed
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: text it was observed on
    block INTEGER,                 -- the block, from 0
    expert INTEGER,                -- the expert of the block, from 0
    role VARCHAR,                  -- source, target, or other: template and special tokens
    language VARCHAR,              -- language of the tokens; NULL for other tokens, and for sets without one language
    n_tokens BIGINT,               -- number of real tokens with this role
    n_routed BIGINT,               -- number of these that are routed to the expert
    gate_sum DOUBLE,               -- sum of their gate weights
    norm_sum DOUBLE,               -- sum of the norms of the expert's outputs for them
    square_norm_sum DOUBLE,        -- sum of the squares of these norms
    gate_norm_sum DOUBLE,          -- sum of gate weight times norm
    gate_square_norm_sum DOUBLE,   -- sum of gate weight times the square of the norm
    PRIMARY KEY (expert_statistics_id, block, expert, role)
);
