-- run_packs: one row per file into which the files of a run were packed, all of them folded
CREATE OR REPLACE TABLE run_packs (
    run_file VARCHAR,  -- the packed file, relative to the store
    run_id VARCHAR,    -- the run
    PRIMARY KEY (run_file)
);
