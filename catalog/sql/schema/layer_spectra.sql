-- layer_spectra: one row per layer of the dense model and cut-off: power law of its largest squared singular values
CREATE OR REPLACE TABLE layer_spectra (
    spectra_id VARCHAR,     -- -> records.id: id of the block's record
    base_model_id VARCHAR,  -- -> base_models: model whose weights were decomposed
    block INTEGER,          -- the block, from 0
    layer VARCHAR,          -- path of the layer inside the block
    n_weights BIGINT,       -- weights of the layer
    n_eigenvalues INTEGER,  -- squared singular values that are not zero
    largest DOUBLE,         -- largest squared singular value
    cutoff VARCHAR,         -- where the tail starts: near the peak of the histogram, or at half of the eigenvalues
    exponent DOUBLE,        -- Hill's estimate of the exponent of the density of the tail; lower means a heavier tail
    n_tail INTEGER,         -- squared singular values in the tail
    smallest DOUBLE,        -- smallest squared singular value of the tail
    distance DOUBLE,        -- Kolmogorov-Smirnov distance between the tail and the power law
    PRIMARY KEY (spectra_id, layer, cutoff)
);
