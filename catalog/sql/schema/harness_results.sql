-- harness_results: one row per evaluation by lm-evaluation-harness, metric and filter
CREATE OR REPLACE TABLE harness_results (
    harness_id VARCHAR,        -- -> harness_evaluations: the evaluation
    variant_id VARCHAR,        -- -> variants: the variant that was evaluated
    task VARCHAR,              -- the harness's name of the task
    metric VARCHAR,            -- the harness's name of the metric
    filter VARCHAR,            -- the task's filter of answers it is computed behind; none is the plain one
    value DOUBLE,              -- the metric, as the harness computes it
    stderr DOUBLE,             -- its standard error, as the harness computes it; NULL where it has none
    higher_is_better BOOLEAN,  -- as the task says; NULL where it does not
    PRIMARY KEY (harness_id, metric, filter)
);
