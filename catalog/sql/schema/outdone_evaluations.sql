-- outdone_evaluations: one row per evaluation beside which there is one of more examples, of the same variant, task, language, split, rule and protocol
CREATE OR REPLACE TABLE outdone_evaluations (
    evaluation_id VARCHAR,  -- -> evaluations: the smaller evaluation; of equal ones the smallest id stands
    PRIMARY KEY (evaluation_id)
);
