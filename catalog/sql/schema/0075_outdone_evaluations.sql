-- outdone_evaluations: one row per evaluation beside which there is one of more examples, of the same variant, task, language, split, rule and setup
CREATE TABLE outdone_evaluations (
    evaluation_id VARCHAR,  -- the smaller evaluation; of equal ones the smallest id stands
    PRIMARY KEY (evaluation_id)
);
