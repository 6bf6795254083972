-- text_pass_rates: one row per set of generated texts and metric of language confusion
CREATE OR REPLACE TABLE text_pass_rates (
    text_pass_rates_id VARCHAR, -- -> records.id: id of the record
    generated_texts_id VARCHAR, -- -> generated_texts: the texts
    base_model_id VARCHAR,      -- -> base_models: model that wrote them
    language VARCHAR,           -- language that the prompt names, which is the expected one
    metric VARCHAR,             -- line_pass_rate, word_pass_rate or judged_share
    value DOUBLE,               -- value of the metric, a fraction
    ci_low DOUBLE,              -- lower end of its 95 % interval
    ci_high DOUBLE,             -- upper end of its 95 % interval
    interval VARCHAR,           -- method of the interval: bca or score
    n BIGINT,                   -- number of texts
    detector VARCHAR,           -- name and version of the language detector
    PRIMARY KEY (text_pass_rates_id, metric)
);
