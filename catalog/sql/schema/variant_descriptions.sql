-- variant_descriptions: one row per variant, with the columns that follow from its row, its demonstration sets and its parents
CREATE OR REPLACE TABLE internal.variant_descriptions (
    variant_id VARCHAR,             -- -> variants: the variant
    base_model_id VARCHAR,          -- -> base_models: the model it is made from
    label VARCHAR,                  -- the variant as text, such as wanda fr-en 0.2; different for every variant of the catalog. Propagation dense is not written
    method VARCHAR,                 -- the label without sparsity and seeds, such as wanda fr-en; equal for variants that differ in nothing but sparsity, seeds and sizes of sets: the points of a curve
    method_id VARCHAR,              -- 20 hex digits, equal if and only if the methods are equal
    score VARCHAR,                  -- score that orders the weights; NULL for dense and for parents of different scores
    score_parameters JSON,          -- parameters of the score that are not at their defaults, without its seed, and permute if inputs are permuted before N:M; NULL for none
    structure VARCHAR,              -- comparison group: row, matrix, alpha, or N:M; NULL for dense
    propagation VARCHAR,            -- dense or sequential; NULL if the score reads no statistics
    sparsity DOUBLE,                -- requested fraction of removed weights, in [0, 1)
    achieved_sparsity DOUBLE,       -- fraction of weights that is removed
    demonstration_set_id VARCHAR,   -- -> demonstration_sets: demonstrations that its score read; NULL for none or several
    contrast_set_id VARCHAR,        -- -> demonstration_sets: set that the contrast score divides by; NULL for other scores
    set_kind VARCHAR,               -- kind of the demonstration set
    source_language VARCHAR,        -- source language of the demonstration set
    target_language VARCHAR,        -- target language of the demonstration set
    shots INTEGER,                  -- shots of the demonstration set
    samples INTEGER,                -- samples of the demonstration set; NULL with a token budget, under which seeds differ in samples
    seed BIGINT,                    -- seed of the random score, otherwise of the demonstration set
    intervention VARCHAR,           -- run-time method (lrp2, self_translate, translate_test); NULL for none
    intervention_parameters JSON,   -- parameters of the intervention that are not at their defaults; NULL for none
    is_dense BOOLEAN,               -- whether it is the unpruned model
    weights_changed BOOLEAN,        -- whether remaining weights have new values
    removes VARCHAR,                -- which scores are removed: lowest or highest
    schedule VARCHAR,               -- how the sparsity is distributed over blocks and layers: uniform, given, owl, dlp, alpha_pruning or sensitivity
    schedule_parameters JSON,       -- parameters of the schedule that are not at their defaults; NULL for none
    scope VARCHAR,                  -- all, or JSON with the only blocks and layers that are pruned
    profile VARCHAR,                -- corrected, or paper: the choices of the published code
    token_scope VARCHAR,            -- tokens that count in the statistics: all, content, source, target or last_shot
    aggregation VARCHAR,            -- how several sets are combined: mean, max, variance or pooled; NULL for one set or none
    aggregation_parameters JSON,    -- parameters of the aggregation that are not at their defaults; NULL for none
    n_demonstrations BIGINT,        -- number of demonstrations of a set that are used, from the first on; NULL for all
    resample_seed BIGINT,           -- seed of the bootstrap of the demonstrations; NULL for none
    combination VARCHAR,            -- how the keep masks of its parents are combined; NULL without parents
    demonstration_label VARCHAR,    -- short text for all demonstration sets that its score read
    settings VARCHAR,               -- text for the settings that are not at their defaults; NULL if all are
    settings_id VARCHAR,            -- 20 hex digits, equal for variants with the same settings
    set_ids VARCHAR,                -- equal for variants that read the same sets
    sets_made_of VARCHAR,           -- equal for variants whose sets differ in nothing but profile and seed
    bits BIGINT,                    -- bits of a weight after rounding to the nearest quantisation level; NULL if weights are not quantised
    quantisation_group BIGINT,      -- consecutive inputs of a row that share a quantisation scale; NULL if weights are not quantised
    PRIMARY KEY (variant_id)
);
