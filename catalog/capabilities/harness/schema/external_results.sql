-- external_results: one row per imported task, metric and filter: a number that was computed elsewhere
CREATE OR REPLACE TABLE external_results (
    external_id VARCHAR,       -- -> external_evaluations: the imported results
    metric VARCHAR,            -- the program's name of the metric
    filter VARCHAR,            -- filter that answers pass before the metric is computed; none for no filter
    value DOUBLE,              -- the metric as it was reported
    stderr DOUBLE,             -- its standard error as it was reported; NULL if there is none
    ci_low DOUBLE,             -- lower end of its 95 % interval, computed here from the samples; NULL without samples, or if value is not their mean
    ci_high DOUBLE,            -- upper end
    interval VARCHAR,          -- method of the interval: wilson or wilson_effective
    n BIGINT,                  -- number of samples whose mean is value; NULL as for the interval
    higher_is_better BOOLEAN,  -- as it was reported; NULL if it was not
    PRIMARY KEY (external_id, metric, filter)
);
