-- generated_texts: one row per set of texts that the dense model wrote itself, for demonstrations of kind generated
CREATE OR REPLACE TABLE generated_texts (
    generated_texts_id VARCHAR,  -- -> records.id: id of the record
    base_model_id VARCHAR,      -- -> base_models: model that wrote them
    language VARCHAR,           -- language that the prompt names
    prompt VARCHAR,             -- text that the model continued; empty: the start token alone
    temperature DOUBLE,         -- of the draws; 0: the likeliest token
    seed BIGINT,                -- of the draws
    n_texts INTEGER,            -- texts
    max_tokens INTEGER,         -- tokens of the prompt and a text together
    n_tokens BIGINT,            -- drawn tokens of all texts
    n_empty INTEGER,            -- texts of nothing but white space
    n_distinct INTEGER,         -- different texts; fewer than n_texts if texts repeat, as with temperature 0
    chat_template_sha256 VARCHAR,  -- SHA-256 of the chat template in which the prompt is the user's turn; NULL if it is plain text
    chat_system VARCHAR,        -- system text of the chat; NULL for none
    PRIMARY KEY (generated_texts_id)
);
