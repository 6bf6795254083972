-- metrics: one row per evaluation and metric
CREATE OR REPLACE TABLE metrics (
    evaluation_id VARCHAR,  -- the evaluation
    variant_id VARCHAR,     -- the variant that was evaluated
    task VARCHAR,           -- the evaluation's task
    language VARCHAR,       -- the evaluation's language
    split VARCHAR,          -- the evaluation's split: a number from dev has chosen something, one from test reports it
    metric VARCHAR,         -- accuracy, f1_macro, ..., ece, bleu, chrf, exact_match or perplexity
    value DOUBLE,           -- the metric; fractions, never percent
    ci_low DOUBLE,          -- lower end of its 95 % bootstrap interval
    ci_high DOUBLE,         -- upper end of its 95 % bootstrap interval
    n BIGINT,               -- items it is computed from
    signature VARCHAR,      -- how sacreBLEU says that it computed bleu or chrf; NULL for other metrics
    PRIMARY KEY (evaluation_id, metric)
);
