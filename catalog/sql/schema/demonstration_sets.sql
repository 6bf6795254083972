-- demonstration_sets: one row per tokenised demonstration set
CREATE OR REPLACE TABLE demonstration_sets (
    demonstration_set_id VARCHAR,  -- id of the set
    kind VARCHAR,                  -- translation, monolingual, code, mixed, text or task
    source_language VARCHAR,       -- the language translated from, or the only language; NULL where there is none, or several
    target_language VARCHAR,       -- the language translated into; NULL unless the kind is translation
    shots INTEGER,                 -- sentences (or sentence pairs) in one demonstration
    samples INTEGER,               -- number of demonstrations
    max_tokens INTEGER,            -- length at which a demonstration is cut
    n_tokens BIGINT,               -- real tokens of all demonstrations together
    seed BIGINT,                   -- seed of the order the sentences are drawn in; NULL where they come in their own order
    profile VARCHAR,               -- corrected, or paper: the sentences the published code takes; NULL in records that are older than it
    template VARCHAR,              -- how a sentence is written into a demonstration; NULL for the usual way
    token_budget BIGINT,           -- real tokens the whole set is cut to; NULL for no budget
    task VARCHAR,                  -- evaluation task whose texts it holds; NULL for other kinds
    PRIMARY KEY (demonstration_set_id)
);
