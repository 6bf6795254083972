-- run_packs: one row per file with packed files of a run; all of the packed files are folded
CREATE OR REPLACE TABLE run_packs (
    run_file VARCHAR,  -- the packed file, relative to the store
    run_id VARCHAR,    -- the run
    PRIMARY KEY (run_file)
);
