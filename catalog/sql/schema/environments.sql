-- environments: one row per environment that jobs ran in: code, interpreter, system, processors
CREATE OR REPLACE TABLE environments (
    environment_id VARCHAR,  -- the environment: equal ids, equal code, packages and kind of machine
    mlprune VARCHAR,         -- version of mlprune
    code_sha256 VARCHAR,     -- SHA-256 over mlprune's own code as it lay there
    git_commit VARCHAR,      -- commit it was checked out or installed from; NULL if it was neither
    is_modified BOOLEAN,     -- whether the code differed from that commit; NULL if that cannot be told
    python VARCHAR,          -- interpreter and its version
    system VARCHAR,          -- operating system, its version, and the C library
    processor VARCHAR,       -- model of the CPU; NULL if the system does not say
    instructions VARCHAR,    -- widest vector instructions that torch used on it
    accelerators VARCHAR,    -- accelerators that the worker saw, separated by commas; empty without any
    PRIMARY KEY (environment_id)
);
