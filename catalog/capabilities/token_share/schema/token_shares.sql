-- token_shares: one row per demonstration set of analyses.token_share and side (source, target): how many of its tokens
-- are distinct
CREATE OR REPLACE TABLE token_shares (
    token_shares_id VARCHAR,       -- id of the record
    demonstration_set_id VARCHAR,  -- id of the set
    side VARCHAR,                  -- source (or the only language) or target
    language VARCHAR,              -- language of the side; NULL for sets of several languages and for code
    n_tokens BIGINT,               -- number of tokens of the side, without special tokens and the template
    n_distinct BIGINT,             -- number of distinct tokens among them
    distinct_of_1000 DOUBLE,       -- expected number of distinct tokens among 1,000 of them, drawn without replacement; NULL if there are fewer
    PRIMARY KEY (demonstration_set_id, side)
);
