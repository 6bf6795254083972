-- harness_evaluations: one row per variant and task of lm-evaluation-harness
CREATE OR REPLACE TABLE harness_evaluations (
    harness_id VARCHAR,       -- id of the evaluation, and name of its folder below harness/
    variant_id VARCHAR,       -- -> variants: the variant that was evaluated
    task VARCHAR,             -- the harness's name of the task
    task_version VARCHAR,     -- the version the task's file gives itself
    config_sha256 VARCHAR,    -- SHA-256 of the task's file as the harness resolves it, but for where its data lie
    n_shots INTEGER,          -- few-shot examples before each question
    harness_version VARCHAR,  -- version of lm-evaluation-harness
    dtype VARCHAR,            -- of weights and arithmetic
    example_limit BIGINT,     -- documents asked for, from the start of the split; NULL for all
    n_documents BIGINT,       -- documents evaluated
    n_requests BIGINT,        -- requests the model answered
    PRIMARY KEY (harness_id)
);
