-- demonstration_tokens: one row per demonstration and side: its real tokens by language
CREATE OR REPLACE TABLE demonstration_tokens (
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: the set
    demonstration INTEGER,         -- index of the demonstration in the set, from 0
    side VARCHAR,                  -- source, target, or other: special tokens, templates outside the sides, and the padding that profile paper counts
    language VARCHAR,              -- language of the side; the kind of the set (code, text) if it has none; other for other tokens
    n_tokens INTEGER,              -- number of these tokens
    n_last_shot INTEGER,           -- number of those in the last shot
    PRIMARY KEY (demonstration_set_id, demonstration, side)
);
