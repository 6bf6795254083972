-- quantised_checkpoints: one row per variant that is a quantised checkpoint from elsewhere: what its files contain
CREATE OR REPLACE TABLE quantised_checkpoints (
    variant_id VARCHAR,      -- -> variants: the variant
    format VARCHAR,          -- gguf or compressed-tensors
    source VARCHAR,          -- name of the file or folder, or id on the hub
    kinds VARCHAR,           -- types of the layers that can be pruned, with the number of layers of each
    bits BIGINT,             -- bits of a code of most of their weights
    bits_per_weight DOUBLE,  -- bits of the files per weight of these layers, scales and zero points included
    layers_share DOUBLE,     -- share of the layers that can be pruned that have codes
    embedding VARCHAR,       -- type of the embedding; NULL if it has no codes
    embedding_bits DOUBLE,   -- bits of the files per value of the embedding; NULL if it has no codes
    head VARCHAR,            -- type of the head, that of the embedding if they are tied; NULL if it has no codes
    head_bits DOUBLE,        -- bits of the files per value of the head; NULL if it has no codes
    n_file_bytes BIGINT,     -- bytes of the weight files
    n_zeros BIGINT,          -- weights of the layers that are 0 by rounding; they do not count as removed
    calibration VARCHAR,     -- text that the quantiser read: unknown
    not_read VARCHAR,        -- what the source quantises and the variant does not, such as activations; NULL if nothing
    PRIMARY KEY (variant_id)
);
