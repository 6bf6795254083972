-- runs: one row per run of a recipe, and per rescoring or harness command
CREATE OR REPLACE TABLE runs (
    run_file VARCHAR,        -- file the row was read from, relative to the store
    run_id VARCHAR,          -- the run
    command VARCHAR,         -- command that was given: run, rescore or harness
    recipe VARCHAR,          -- name of the recipe; NULL where there was none
    recipe_id VARCHAR,       -- record of the recipe; NULL where there was none
    started_at TIMESTAMP,    -- when it began, UTC
    address VARCHAR,         -- where its workers were: none, local, or a cluster's address
    host VARCHAR,            -- machine of its driver
    n_cpus INTEGER,          -- CPUs of that machine
    mlprune VARCHAR,         -- version of mlprune there
    environment_id VARCHAR,  -- environment of its driver; NULL in runs of earlier versions
    PRIMARY KEY (run_file)
);
