-- sensitivity: one row per unit (a block, a layer in all blocks, or a layer of one block) and language or group of languages: the loss if only this unit is pruned
CREATE OR REPLACE TABLE sensitivity (
    sensitivity_id VARCHAR,   -- -> records.id: the analysis: one task, metric, sparsity and kind of unit
    variant_id VARCHAR,       -- -> variants: the probe, in which only the unit is pruned
    baseline_id VARCHAR,      -- -> variants: the dense variant
    unit_kind VARCHAR,        -- block, layer or block_layer
    unit VARCHAR,             -- key of the unit: 3, fc1 or 3.fc1
    block INTEGER,            -- its block, from 0; NULL for a layer in all blocks
    layer VARCHAR,            -- its layer, by the path inside a block; NULL for a whole block
    sparsity DOUBLE,          -- sparsity of the unit's layers
    n_weights BIGINT,         -- number of prunable weights of the unit
    n_removed BIGINT,         -- number of removed weights
    removed_share DOUBLE,     -- n_removed divided by all prunable weights of the model
    task VARCHAR,             -- the task
    split VARCHAR,            -- split of the task
    metric VARCHAR,           -- the metric
    group_kind VARCHAR,       -- language, outside_english, all, script, resource_class or worst; English is in no script or resource_class
    group_name VARCHAR,       -- the language or pair of languages, the code of the script or the number of the resource class; empty for other groups
    languages VARCHAR,        -- languages of the group, sorted, with blanks between them
    n_languages BIGINT,       -- number of languages
    n_items BIGINT,           -- number of different items
    n_clusters BIGINT,        -- number of different clusters of items
    loss DOUBLE,              -- how much worse the probe is than dense: positive is worse for every metric; if scale is log_ratio, ln(perplexity of the probe / perplexity of dense)
    scale VARCHAR,            -- difference, nats for divergences, or log_ratio for perplexity
    ci_low DOUBLE,            -- lower end of the loss's 95 % interval
    ci_high DOUBLE,           -- upper end of it
    interval VARCHAR,         -- method of the interval, as in comparison_results and aggregate_results
    standard_error DOUBLE,    -- standard error of the loss
    p_value DOUBLE,           -- two-sided p-value of the loss against 0, without correction
    p_max_t DOUBLE,           -- p-value corrected over the units of the analysis (max-T), in this language or group
    test VARCHAR,             -- method of p_value
    scoring_rule VARCHAR,     -- scoring rule of all evaluations
    prompt_language VARCHAR,  -- prompt language of all evaluations; NULL if each has the prompts of its language
    example_limit BIGINT,     -- number of examples that were asked for; NULL for the full split
    protocol_id VARCHAR,      -- protocol of all evaluations
    profile VARCHAR,          -- profile of all evaluations: corrected or paper
    PRIMARY KEY (sensitivity_id, unit, group_kind, group_name)
);
