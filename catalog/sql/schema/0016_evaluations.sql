-- evaluations: one row per variant, task, language, split and scoring rule
CREATE TABLE evaluations (
    evaluation_id VARCHAR,    -- id of the evaluation, and name of its file below predictions/
    variant_id VARCHAR,       -- the variant that was evaluated
    task VARCHAR,             -- facts, xnli, marc, xcopa, paws_x, translation or perplexity
    language VARCHAR,         -- language of the examples; for translation a pair such as fr-en
    split VARCHAR,            -- dev or test
    scoring_rule VARCHAR,     -- how candidate texts are scored
    prompt_language VARCHAR,  -- language the prompt template is written in
    example_limit BIGINT,     -- examples asked for; NULL for the full split
    n_examples BIGINT,        -- examples evaluated
    PRIMARY KEY (evaluation_id)
);
