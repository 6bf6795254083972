-- outdone_evaluations: one row per evaluation that another one replaces, which has more examples or a later version and is otherwise equal
CREATE OR REPLACE TABLE internal.outdone_evaluations (
    evaluation_id VARCHAR,  -- -> evaluations: the replaced evaluation; of equally large ones of one version, all but the one with the smallest id are replaced
    PRIMARY KEY (evaluation_id)
);
