-- demonstration_sets: one row per tokenised demonstration set
CREATE TABLE demonstration_sets (
    demonstration_set_id VARCHAR,  -- id of the set
    kind VARCHAR,                  -- translation, monolingual, code or mixed
    source_language VARCHAR,       -- the language translated from, or the only language; NULL for code and mixed
    target_language VARCHAR,       -- the language translated into; NULL unless the kind is translation
    shots INTEGER,                 -- sentences (or sentence pairs) in one demonstration
    samples INTEGER,               -- number of demonstrations
    max_tokens INTEGER,            -- length at which a demonstration is cut
    n_tokens BIGINT,               -- real tokens of all demonstrations together
    seed BIGINT,                   -- seed of the order the sentences are drawn in
    PRIMARY KEY (demonstration_set_id)
);
