-- run_environments: one row per run and environment that its jobs ran in
CREATE OR REPLACE TABLE run_environments (
    run_file VARCHAR,        -- file the row was read from, relative to the store
    run_id VARCHAR,          -- the run
    environment_id VARCHAR,  -- -> environments: the environment
    PRIMARY KEY (run_file)
);
