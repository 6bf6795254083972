-- external_evaluations: one row per task of a results file that was computed elsewhere and imported; no other table has its numbers
CREATE OR REPLACE TABLE external_evaluations (
    external_id VARCHAR,     -- id of the imported results, and name of their folder in external/
    variant_id VARCHAR,      -- -> variants: variant that the results are about, as stated at the import; NULL if none was stated
    model VARCHAR,           -- name or path of the model, as the results state it
    tool VARCHAR,            -- program that computed them: lm-evaluation-harness
    tool_version VARCHAR,    -- its version; NULL if the results do not state it
    task VARCHAR,            -- the program's name of the task
    task_version VARCHAR,    -- version of the task; NULL if the results do not state it
    n_shots INTEGER,         -- number of few-shot examples before each question; NULL if the results do not state it
    example_limit DOUBLE,    -- number of documents that were asked for, or a share of them below 1; NULL for all
    n_documents BIGINT,      -- number of documents that were evaluated; NULL if the results do not state it
    has_samples BOOLEAN,     -- whether the answers to the single documents were imported too
    evaluated_at TIMESTAMP,  -- when they were computed, UTC; NULL if the results do not state it
    source_file VARCHAR,     -- name of the imported file
    content_sha256 VARCHAR,  -- SHA-256 of the results of the task and their provenance
    samples_sha256 VARCHAR,  -- SHA-256 of the file with the samples; NULL without samples
    provenance JSON,         -- what the results state of the model, the task and the machine
    PRIMARY KEY (external_id)
);
