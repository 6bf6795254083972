-- metrics: one row per evaluation and metric
CREATE TABLE metrics (
    evaluation_id VARCHAR,  -- the evaluation
    variant_id VARCHAR,     -- the variant that was evaluated
    task VARCHAR,           -- the evaluation's task
    language VARCHAR,       -- the evaluation's language
    split VARCHAR,          -- the evaluation's split
    metric VARCHAR,         -- accuracy, f1_macro, ..., ece, bleu, chrf, exact_match or perplexity
    value DOUBLE,           -- the metric; fractions, never percent
    ci_low DOUBLE,          -- lower end of its 95 % bootstrap interval
    ci_high DOUBLE,         -- upper end of its 95 % bootstrap interval
    n BIGINT,               -- items it is computed from
    PRIMARY KEY (evaluation_id, metric)
);
