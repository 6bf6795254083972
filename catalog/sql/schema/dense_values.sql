-- dense_values: one row per metric of a dense model, for the comparison with metrics of other variants
CREATE OR REPLACE TABLE internal.dense_values (
    base_model_id VARCHAR,     -- -> base_models: the dense model
    evaluation_id VARCHAR,     -- -> evaluations: its evaluation
    task VARCHAR,              -- the evaluation's task
    language VARCHAR,          -- the evaluation's language
    split VARCHAR,             -- the evaluation's split
    metric VARCHAR,            -- the metric
    higher_is_better BOOLEAN,  -- whether a higher value is better
    scoring_rule VARCHAR,      -- the evaluation's scoring rule
    example_limit BIGINT,      -- the evaluation's limit of examples; NULL for the full split
    protocol_id VARCHAR,       -- the evaluation's protocol
    value DOUBLE,              -- value of the metric
    ci_low DOUBLE,             -- lower end of its 95 % interval
    ci_high DOUBLE,            -- upper end of its 95 % interval
    PRIMARY KEY (evaluation_id, metric)
);
