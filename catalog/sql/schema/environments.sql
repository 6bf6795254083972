-- environments: one row per environment that jobs ran in: code, interpreter, operating system, processors
CREATE OR REPLACE TABLE environments (
    environment_id VARCHAR,  -- id of the environment: equal ids mean equal code, packages and kind of machine
    mlprune VARCHAR,         -- version of mlprune
    code_sha256 VARCHAR,     -- SHA-256 of mlprune's own code, in hex
    git_commit VARCHAR,      -- commit that the code was checked out or installed from; NULL if there is none
    is_modified BOOLEAN,     -- whether the code differed from that commit; NULL if that is unknown
    python VARCHAR,          -- interpreter and its version
    system VARCHAR,          -- operating system, its version, and the C library
    processor VARCHAR,       -- model of the CPU; NULL if the operating system does not report it
    instructions VARCHAR,    -- widest vector instructions that torch used on it
    accelerators VARCHAR,    -- accelerators of the worker, separated by commas; empty for none
    PRIMARY KEY (environment_id)
);
