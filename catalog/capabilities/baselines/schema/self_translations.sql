-- self_translations: one row per task, language and split that the model, or a given system, translated into English
CREATE OR REPLACE TABLE self_translations (
    translations_id VARCHAR,  -- id of the translations, and name of their file in translations/
    base_model_id VARCHAR,    -- -> base_models: unpruned model that translated; NULL if translations were given
    system VARCHAR,           -- system that made given translations; NULL if the model translated
    task VARCHAR,             -- name of the task
    language VARCHAR,         -- language of the examples
    split VARCHAR,            -- split of the examples
    example_limit BIGINT,     -- as in evaluations
    protocol_id VARCHAR,      -- as in evaluations
    n_texts BIGINT,           -- number of texts in the examples
    n_distinct BIGINT,        -- number of different texts, each translated once by the model
    n_empty BIGINT,           -- number of texts with an empty translation; they stay untranslated
    PRIMARY KEY (translations_id)
);
