-- outdone_evaluations: one row per evaluation that a larger one replaces, which is equal in everything but the number of examples
CREATE OR REPLACE TABLE outdone_evaluations (
    evaluation_id VARCHAR,  -- -> evaluations: the replaced evaluation; of equally large ones, all but the one with the smallest id are replaced
    PRIMARY KEY (evaluation_id)
);
