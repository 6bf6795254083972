-- harness_results: one row per evaluation by lm-evaluation-harness, metric and filter
CREATE OR REPLACE TABLE harness_results (
    harness_id VARCHAR,        -- -> harness_evaluations: the evaluation
    variant_id VARCHAR,        -- -> variants: the variant that was evaluated
    task VARCHAR,              -- the harness's name of the task
    metric VARCHAR,            -- the harness's name of the metric
    filter VARCHAR,            -- the task's filter that answers pass before the metric is computed; none for no filter
    value DOUBLE,              -- the metric, as the harness computes it
    stderr DOUBLE,             -- its standard error, as the harness computes it; NULL if there is none
    higher_is_better BOOLEAN,  -- as the task declares it; NULL if it does not
    PRIMARY KEY (harness_id, metric, filter)
);
