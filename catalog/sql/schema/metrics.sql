-- metrics: one row per evaluation and metric, with the columns that distinguish evaluations
CREATE OR REPLACE TABLE metrics (
    evaluation_id VARCHAR,    -- -> evaluations: the evaluation
    variant_id VARCHAR,       -- -> variants: the variant that was evaluated
    task VARCHAR,             -- the evaluation's task
    language VARCHAR,         -- the evaluation's language
    split VARCHAR,            -- the evaluation's split: values on dev are for choices, values on test for reports
    metric VARCHAR,           -- accuracy, f1_macro, ..., ece, bleu, chrf, exact_match or perplexity
    value DOUBLE,             -- value of the metric; a fraction, never percent
    ci_low DOUBLE,            -- lower end of its 95 % bootstrap interval
    ci_high DOUBLE,           -- upper end of its 95 % bootstrap interval
    n BIGINT,                 -- number of items that it is computed from
    signature VARCHAR,        -- sacreBLEU's signature of bleu or chrf; NULL for other metrics
    scoring_rule VARCHAR,     -- the evaluation's scoring rule
    prompt_language VARCHAR,  -- the evaluation's prompt language
    example_limit BIGINT,     -- the evaluation's limit of examples; NULL for the full split
    protocol_id VARCHAR,      -- the evaluation's protocol
    profile VARCHAR,          -- the evaluation's profile: corrected or paper
    PRIMARY KEY (evaluation_id, metric)
);
