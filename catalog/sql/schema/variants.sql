-- variants: one row per variant: a base model and what is removed from it; the dense model has sparsity 0 and no score
CREATE OR REPLACE TABLE variants (
    variant_id VARCHAR,            -- id of the variant
    base_model_id VARCHAR,         -- -> base_models: the model it is made from
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: demonstrations that its score read; NULL for none or several, see variant_demonstrations
    contrast_set_id VARCHAR,       -- -> demonstration_sets: set that the contrast score divides by; NULL for other scores
    score VARCHAR,                 -- a score of the recipe reference such as wanda; NULL for dense and for parents of different scores
    score_parameters JSON,         -- parameters of the score that are not at their defaults, without its seed, and permute if inputs are permuted before N:M; NULL for none
    structure VARCHAR,             -- comparison group: row, matrix, alpha, units, or N:M; NULL for dense
    propagation VARCHAR,           -- dense or sequential; NULL if the score reads no statistics
    sparsity DOUBLE,               -- requested fraction of removed weights, in [0, 1); for a combination, the achieved fraction
    achieved_sparsity DOUBLE,      -- fraction of weights that is removed
    weights_changed BOOLEAN,       -- whether remaining weights have new values
    biases_changed BOOLEAN,        -- whether biases have new values, which contain the means of removed inputs, were fitted, or are 0 after removed sub-layers; NULL for no
    intervention VARCHAR,          -- run-time method (lrp2, self_translate, translate_test) or vocabulary; NULL for none
    intervention_parameters JSON,  -- parameters of the intervention that are not at their defaults; NULL for none
    seed BIGINT,                   -- seed of the random score; NULL for other scores
    removes VARCHAR,               -- which scores are removed: lowest or highest; NULL for dense
    schedule VARCHAR,              -- how the sparsity is distributed over blocks and layers: uniform, given, owl, dlp, alpha_pruning or sensitivity; NULL for dense
    schedule_parameters JSON,      -- parameters of the schedule that are not at their defaults; NULL for none
    scope JSON,                    -- the only blocks, layers and sub-layers that are pruned: {"blocks": [...], "layers": [...], "sublayers": [...]}; NULL for all
    profile VARCHAR,               -- corrected, or paper: the choices of the published code; NULL for dense
    token_scope VARCHAR,           -- tokens that count in the statistics: all, content, source, target or last_shot; NULL if no statistics are read
    aggregation VARCHAR,           -- how several sets are combined: mean, max, variance or pooled; NULL for one set or none
    aggregation_parameters JSON,   -- parameters of the aggregation that are not at their defaults; NULL for none
    n_demonstrations BIGINT,       -- number of demonstrations of a set that are used, from the first on; NULL for all
    resample_seed BIGINT,          -- seed of the bootstrap of the demonstrations; NULL for none
    combination VARCHAR,           -- how the keep masks of its parents are combined: intersection, union, ...; NULL without parents
    refiner VARCHAR,               -- how the mask of the score was refined, or its kept weights recovered; NULL for neither
    refiner_parameters JSON,       -- parameters of the refiner that are not at their defaults; NULL for none
    reconstruction JSON,           -- settings of the reconstruction of blocks that are not at their defaults, and its unit; NULL if blocks are not reconstructed
    recovery JSON,                 -- steps of the recovery of all kept weights together, and settings that are not at their defaults; NULL if they are not recovered
    bits BIGINT,                   -- bits of a weight after rounding to a quantisation level; NULL if weights are not quantised
    quantisation_group BIGINT,     -- consecutive inputs of a row that share a quantisation scale; NULL for whole rows, or if weights are not quantised
    quantisation JSON,             -- how weights were rounded to stored codes: method (gptq or nearest), and settings that are not at their defaults; NULL without codes
    neurons JSON,                  -- feed-forward neurons that the variant lacks: {"action": remove, only or random, "of": language}, with share and quantile if they are not at their defaults; NULL for other variants
    n_removed_blocks BIGINT,       -- number of whole blocks that the variant lacks; NULL for other structures
    removed_blocks BIGINT[],       -- these blocks, ascending, numbered from 0
    removed_sublayers VARCHAR[],   -- whole sub-layers that the variant lacks, as BLOCK.attention or BLOCK.feed_forward; NULL for other structures
    plugins JSON,                  -- methods that are plug-ins: kind -> name, sha256 of the source, and distribution and version or file; NULL for none
    mask_sha256 VARCHAR,           -- fingerprint of the keep masks: equal if and only if the same weights are kept; NULL for dense
    PRIMARY KEY (variant_id)
);
