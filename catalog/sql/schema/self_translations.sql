-- self_translations: one row per task, language and split that the model translated to English for itself
CREATE OR REPLACE TABLE self_translations (
    translations_id VARCHAR,  -- id of the translations, and name of their file below translations/
    base_model_id VARCHAR,    -- -> base_models: model that translated, unpruned
    task VARCHAR,             -- name of the task
    language VARCHAR,         -- language of the examples
    split VARCHAR,            -- split they are from
    example_limit BIGINT,     -- as in evaluations
    protocol_id VARCHAR,      -- as in evaluations
    n_texts BIGINT,           -- texts of the examples
    n_distinct BIGINT,        -- different ones among them, each translated once
    n_empty BIGINT,           -- texts the model wrote nothing for; they stay as they are
    PRIMARY KEY (translations_id)
);
