-- demonstrations: one row per demonstration of a set, with its text
CREATE OR REPLACE TABLE demonstrations (
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: the set
    demonstration INTEGER,         -- its index in the set, from 0
    kind VARCHAR,                  -- translation, monolingual, code, text or task
    n_tokens INTEGER,              -- number of its tokens
    sentence_ids BIGINT[],         -- indices of its sentences in the corpus, from 0; for code the index of its file
    text VARCHAR,                  -- its text, as it was tokenised
    PRIMARY KEY (demonstration_set_id, demonstration)
);
