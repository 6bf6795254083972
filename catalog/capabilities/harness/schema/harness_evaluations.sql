-- harness_evaluations: one row per variant and task of lm-evaluation-harness
CREATE OR REPLACE TABLE harness_evaluations (
    harness_id VARCHAR,       -- id of the evaluation, and name of its folder in harness/
    variant_id VARCHAR,       -- -> variants: the variant that was evaluated
    task VARCHAR,             -- the harness's name of the task
    task_version VARCHAR,     -- version in the task's file
    config_sha256 VARCHAR,    -- SHA-256 of the task's file as the harness resolves it, without the location of its data
    n_shots INTEGER,          -- number of few-shot examples before each question
    harness_version VARCHAR,  -- version of lm-evaluation-harness
    dtype VARCHAR,            -- dtype of weights and arithmetic
    example_limit BIGINT,     -- number of documents that were asked for, from the start of the split; NULL for all
    n_documents BIGINT,       -- number of documents that were evaluated
    n_requests BIGINT,        -- number of requests that the model answered
    PRIMARY KEY (harness_id)
);
