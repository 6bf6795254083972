-- runs: one row per run of a recipe, and per rescore or harness command
CREATE OR REPLACE TABLE runs (
    run_file VARCHAR,        -- file the row was read from, relative to the store
    run_id VARCHAR,          -- the run
    command VARCHAR,         -- the command: run, rescore or harness
    recipe VARCHAR,          -- name of the recipe; NULL for commands without one
    recipe_id VARCHAR,       -- record of the recipe; NULL for commands without one
    started_at TIMESTAMP,    -- start time, UTC
    address VARCHAR,         -- address of its workers: none, local, or the address of a cluster
    host VARCHAR,            -- machine of its driver
    n_cpus INTEGER,          -- number of CPUs of that machine
    mlprune VARCHAR,         -- version of mlprune on that machine
    environment_id VARCHAR,  -- environment of its driver
    PRIMARY KEY (run_file)
);
