-- variant_descriptions: one row per variant, with what follows from its own row, its sets, its parents and its names
CREATE TABLE variant_descriptions (
    variant_id VARCHAR,            -- the variant
    base_model_id VARCHAR,         -- the model it is made from
    variant_name VARCHAR,          -- the first of its names in recipes; NULL if it has none
    method VARCHAR,                -- 20 hex digits, equal where all columns from score to settings that are no size, seed or sparsity are
    score VARCHAR,                 -- score the weights are ordered by; NULL for dense and for parents of different scores
    structure VARCHAR,             -- comparison group: row, matrix, alpha, or N:M; NULL for dense
    propagation VARCHAR,           -- dense or sequential; NULL if the score reads no statistics
    sparsity DOUBLE,               -- fraction of weights asked to be removed, in [0, 1)
    achieved_sparsity DOUBLE,      -- fraction of weights that is removed
    demonstration_set_id VARCHAR,  -- demonstrations its score read; NULL if it read none or several
    contrast_set_id VARCHAR,       -- set the contrast score divides by; NULL for other scores
    set_kind VARCHAR,              -- kind of the demonstration set
    source_language VARCHAR,       -- source language of the demonstration set
    target_language VARCHAR,       -- target language of the demonstration set
    shots INTEGER,                 -- shots of the demonstration set
    samples INTEGER,               -- samples of the demonstration set
    seed BIGINT,                   -- seed of the random score, else that of the demonstration set
    intervention VARCHAR,          -- what happens at run time (lrp2, self_translate); NULL for nothing
    is_dense BOOLEAN,              -- whether it is the unpruned model
    weights_changed BOOLEAN,       -- whether remaining weights have new values
    removes VARCHAR,               -- lowest or highest scores
    schedule VARCHAR,              -- how the sparsity is spread over blocks and layers: uniform, given or owl
    scope VARCHAR,                 -- all, or the blocks and layers that are pruned, in words
    profile VARCHAR,               -- corrected, or paper: the published code's choices
    token_scope VARCHAR,           -- tokens that count in the statistics: all, source, target or last_shot
    aggregation VARCHAR,           -- how several sets become one: mean, max, variance or pooled; NULL with one set or none
    n_demonstrations BIGINT,       -- only so many demonstrations of a set are used; NULL for all
    resample_seed BIGINT,          -- seed of the bootstrap of the demonstrations; NULL for none
    combination VARCHAR,           -- what is done with the kept weights of its parents; NULL for no parents
    details VARCHAR,               -- further settings that are not at their defaults, in words; NULL for none
    demonstrations VARCHAR,        -- all sets its score read, in few letters
    settings VARCHAR,              -- in words, what of the variant is no default; NULL: all is
    set_ids VARCHAR,               -- equal where the same sets were read
    sets_made_of VARCHAR,          -- equal where the sets differ in nothing but profile and seed
    PRIMARY KEY (variant_id)
);
