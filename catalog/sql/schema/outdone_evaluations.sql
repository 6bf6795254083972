-- outdone_evaluations: one row per evaluation for which there is one of more examples that agrees in everything else
CREATE OR REPLACE TABLE outdone_evaluations (
    evaluation_id VARCHAR,  -- -> evaluations: the smaller evaluation; among equally large ones all but the one with the smallest id
    PRIMARY KEY (evaluation_id)
);
