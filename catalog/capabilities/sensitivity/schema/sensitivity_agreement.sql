-- sensitivity_agreement: one row per analysis and pair of languages, in alphabetical order: whether the same units matter to both
CREATE OR REPLACE TABLE sensitivity_agreement (
    sensitivity_id VARCHAR,   -- -> records.id: the analysis: one task, metric, sparsity and kind of unit
    baseline_id VARCHAR,      -- -> variants: the dense variant
    unit_kind VARCHAR,        -- block, layer or block_layer
    sparsity DOUBLE,          -- sparsity of the probes
    task VARCHAR,             -- the task
    split VARCHAR,            -- split of the task
    metric VARCHAR,           -- the metric
    language VARCHAR,         -- first language, or pair of languages
    other_language VARCHAR,   -- second one
    n_units BIGINT,           -- number of units
    n_clusters BIGINT,        -- number of different clusters of items, which units and languages share
    rank_correlation DOUBLE,  -- Spearman's correlation of the losses over the units; NULL if all losses of a language are equal
    corrected DOUBLE,         -- the correlation of the true losses: median of draws that remove the effect of sampling error on the ranks
    ci_low DOUBLE,            -- lower end of the 95 % interval of the correlation of the true losses; rank_correlation may be outside
    ci_high DOUBLE,           -- upper end of it
    scoring_rule VARCHAR,     -- scoring rule of all evaluations
    example_limit BIGINT,     -- number of examples that were asked for; NULL for the full split
    protocol_id VARCHAR,      -- protocol of all evaluations
    profile VARCHAR,          -- profile of all evaluations: corrected or paper
    PRIMARY KEY (sensitivity_id, language, other_language)
);
