-- evaluations: one row per variant, task, language, split, scoring rule and setup
CREATE OR REPLACE TABLE evaluations (
    evaluation_id VARCHAR,    -- id of the evaluation, and name of its file below predictions/
    variant_id VARCHAR,       -- the variant that was evaluated
    task VARCHAR,             -- name of the task: facts, xnli, ..., or one that a recipe describes
    language VARCHAR,         -- language of the examples; for translation a pair such as fr-en
    split VARCHAR,            -- dev or test
    scoring_rule VARCHAR,     -- mean, candidate_mean, candidate_sum or pmi; greedy for translation, sum for perplexity
    prompt_language VARCHAR,  -- language the prompt template is written in
    example_limit BIGINT,     -- examples asked for; NULL for the full split
    n_examples BIGINT,        -- examples evaluated
    setup VARCHAR,            -- what of the evaluation is no default and has no column, in words; NULL for nothing
    PRIMARY KEY (evaluation_id)
);
