-- demonstrations: one row per demonstration of a set, with its very text
CREATE OR REPLACE TABLE demonstrations (
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: the set
    demonstration INTEGER,         -- its number in the set, counted from 0
    kind VARCHAR,                  -- translation, monolingual, code, text or task
    n_tokens INTEGER,              -- its tokens
    sentence_ids BIGINT[],         -- numbers of its sentences in the corpus, counted from 0; for code, of its file
    text VARCHAR,                  -- its text, as it was tokenised
    PRIMARY KEY (demonstration_set_id, demonstration)
);
