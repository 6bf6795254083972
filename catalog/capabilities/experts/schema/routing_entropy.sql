-- routing_entropy: one row per demonstration set, role of the tokens and block with experts: how evenly the tokens use the experts
CREATE OR REPLACE TABLE routing_entropy (
    routing_entropy_id VARCHAR,      -- id of the record
    base_model_id VARCHAR,           -- -> base_models: unpruned model that was observed
    demonstration_set_id VARCHAR,    -- -> demonstration_sets: text it was observed on
    role VARCHAR,                    -- source or target: side of the tokens in a demonstration
    language VARCHAR,                -- language of the tokens; NULL for sets without one language
    block INTEGER,                   -- the block, from 0
    n_experts BIGINT,                -- number of experts of the block, without shared ones
    scoring VARCHAR,                 -- softmax or sigmoid: function by which the router scores its experts; NULL: not known
    n_demonstrations BIGINT,         -- number of demonstrations with such tokens
    n_tokens BIGINT,                 -- number of these tokens
    entropy_of_mean DOUBLE,          -- entropy of the mean over tokens of the router's distribution / ln n_experts; NULL if scoring is NULL
    entropy_of_mean_ci_low DOUBLE,   -- lower end of its 95 % interval over demonstrations (BCa); NULL for a single one
    entropy_of_mean_ci_high DOUBLE,  -- upper end of it
    mean_entropy DOUBLE,             -- mean over tokens of the entropy of the router's distribution / ln n_experts; NULL if scoring is NULL
    mean_entropy_ci_low DOUBLE,      -- lower end of its 95 % interval
    mean_entropy_ci_high DOUBLE,     -- upper end of it
    entropy_of_use DOUBLE,           -- entropy of the shares of routed tokens that each expert gets / ln n_experts
    entropy_of_use_ci_low DOUBLE,    -- lower end of its 95 % interval
    entropy_of_use_ci_high DOUBLE,   -- upper end of it
    PRIMARY KEY (routing_entropy_id, role, block)
);
