-- metrics: one row per evaluation and metric, with the columns that distinguish evaluations; the view measured leaves out evaluations that others replace
CREATE OR REPLACE TABLE metrics (
    evaluation_id VARCHAR,    -- -> evaluations: the evaluation
    variant_id VARCHAR,       -- -> variants: the variant that was evaluated
    task VARCHAR,             -- the evaluation's task
    language VARCHAR,         -- the evaluation's language
    split VARCHAR,            -- the evaluation's split: values on dev are for choices, values on test for reports
    metric VARCHAR,           -- accuracy, f1_macro, ..., ece, ece_sum, bleu, chrf, exact_match or perplexity; with distance: divergence, ..., removed_mass
    value DOUBLE,             -- value of the metric; a fraction, never percent; of divergences, nats
    ci_low DOUBLE,            -- lower end of its 95 % interval
    ci_high DOUBLE,           -- upper end of its 95 % interval
    interval VARCHAR,         -- method of the interval: wilson, wilson_effective, log_t, log_bootstrap_t, t, bootstrap_t, bca, debiased or score
    standard_error DOUBLE,    -- standard error of value; clusters of items are independent, items of one cluster are not
    n BIGINT,                 -- number of items that it is computed from
    n_clusters BIGINT,        -- number of clusters of items
    chance DOUBLE,            -- accuracy of guessing: the mean of 1 / number of candidates or, if all items have the same candidates, the share of the most frequent right one; NULL for other metrics
    p_chance DOUBLE,          -- one-sided p-value of the hypothesis that the accuracy is not above chance
    limit_reached VARCHAR,    -- floor: p_chance >= 0.05; ceiling: the interval reaches the best possible value; NULL for neither
    higher_is_better BOOLEAN, -- whether a higher value is better
    signature VARCHAR,        -- sacreBLEU's signature of bleu or chrf; NULL for other metrics
    scoring_rule VARCHAR,     -- the evaluation's scoring rule
    prompt_language VARCHAR,  -- the evaluation's prompt language
    example_limit BIGINT,     -- the evaluation's limit of examples; NULL for the full split
    protocol_id VARCHAR,      -- the evaluation's protocol
    profile VARCHAR,          -- the evaluation's profile: corrected or paper
    PRIMARY KEY (evaluation_id, metric)
);
