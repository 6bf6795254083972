-- demonstration_sets: one row per tokenised demonstration set
CREATE OR REPLACE TABLE demonstration_sets (
    demonstration_set_id VARCHAR,  -- id of the set
    kind VARCHAR,                  -- translation, monolingual, code, mixed, text, task or generated
    source_language VARCHAR,       -- language that is translated from, or the only language; NULL if there is none or several
    target_language VARCHAR,       -- language that is translated into; NULL unless the kind is translation
    shots INTEGER,                 -- sentences (or sentence pairs) in one demonstration
    samples INTEGER,               -- number of demonstrations
    max_tokens INTEGER,            -- most tokens of a demonstration
    longer VARCHAR,                -- what happened to longer ones: skip, truncate_left or refuse; NULL if their end was cut off
    n_longer INTEGER,              -- number of longer ones; NULL if their end was cut off
    n_tokens BIGINT,               -- number of real tokens in all demonstrations
    seed BIGINT,                   -- seed of the order in which sentences are drawn; NULL if they are taken in order
    draw VARCHAR,                  -- published: texts in the order of the published code; NULL for the order of their hashes
    profile VARCHAR,               -- corrected, or paper: the sentences that the published code takes
    template VARCHAR,              -- template of a demonstration; NULL for the default
    token_budget BIGINT,           -- number of real tokens that the whole set is truncated to; NULL for no budget
    task VARCHAR,                  -- evaluation task whose texts it contains; NULL for other kinds
    paired BOOLEAN,                -- false if no shot of a translation set has a sentence with its translation; NULL otherwise
    chat_template_sha256 VARCHAR,  -- SHA-256 of the model's chat template that wrote the turns; NULL without a chat
    chat_system VARCHAR,           -- system text of the chat; NULL for none
    PRIMARY KEY (demonstration_set_id)
);
