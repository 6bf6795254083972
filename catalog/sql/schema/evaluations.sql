-- evaluations: one row per variant, task, language, split, scoring rule and evaluation setup; outdone_evaluations lists those that others replace
CREATE OR REPLACE TABLE evaluations (
    evaluation_id VARCHAR,    -- id of the evaluation, and name of its file in predictions/
    variant_id VARCHAR,       -- -> variants: the variant that was evaluated
    task VARCHAR,             -- name of the task: facts, xnli, ..., or one that a recipe describes
    language VARCHAR,         -- language of the examples; for translation a pair such as fr-en
    split VARCHAR,            -- dev or test
    scoring_rule VARCHAR,     -- mean, candidate_mean, candidate_sum or pmi; greedy for translation, sum for perplexity
    prompt_language VARCHAR,  -- language of the prompt template
    example_limit BIGINT,     -- number of examples that were asked for; NULL for the full split
    n_examples BIGINT,        -- number of examples that were evaluated
    protocol_id VARCHAR,      -- id of the way the task was evaluated, see the view protocols; equal in all languages and variants
    prompts VARCHAR,          -- words around the examples: en, or native for the language of the examples
    limit_seed BIGINT,        -- seed of the examples that example_limit kept; 0 for the full split
    n_shots BIGINT,           -- translation: number of sentence pairs in the prompt; NULL for other tasks
    shot_seed BIGINT,         -- translation: seed of the choice of these pairs; NULL for other tasks
    max_new_tokens BIGINT,    -- translation: maximum number of generated tokens; NULL for other tasks
    metric_names VARCHAR[],   -- metrics that were computed instead of those of the task; NULL for those of the task
    subset_n_asked BIGINT,    -- number of examples that a rescoring was asked to keep; NULL for all
    subset_sha256 VARCHAR,    -- SHA-256 of their ids in ascending order, joined by newlines; NULL for all
    profile VARCHAR,          -- corrected, or paper: examples, shots and scores of the published code
    items_id VARCHAR,         -- -> tasks: its items, before a rescoring kept a part; NULL for evaluations of version 4
    other_shots BOOLEAN,      -- true if the sentence pairs in the prompt are from another text; NULL otherwise
    longer VARCHAR,           -- items longer than the model were left out (skip) or cut (truncate_left); NULL if refused
    n_longer BIGINT,          -- number of these items, which are not in n_examples if they were left out; NULL if refused
    split_by VARCHAR,         -- clusters if the halves dev and test of the corpus share no cluster; NULL otherwise
    chat_template_sha256 VARCHAR,  -- SHA-256 of the model's chat template that wrote the prompts; NULL without a chat
    chat_system VARCHAR,      -- system text of the chat; NULL for none
    PRIMARY KEY (evaluation_id)
);
