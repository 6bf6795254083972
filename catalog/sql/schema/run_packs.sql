-- run_packs: one row per file that holds what many files of one run held, all folded
CREATE OR REPLACE TABLE run_packs (
    run_file VARCHAR,  -- the file, relative to the store
    run_id VARCHAR,    -- the run
    PRIMARY KEY (run_file)
);
