-- model_layers: one row per parameter of two or more dimensions in the blocks of a model: pruned layers, and what stays
-- dense
CREATE OR REPLACE TABLE model_layers (
    base_model_id VARCHAR,  -- -> base_models: the model
    block INTEGER,          -- the block, from 0
    layer VARCHAR,          -- path inside the block, of the layer if it is pruned and of the parameter otherwise
    input VARCHAR,          -- input that a pruned layer reads: path of the first layer that reads it
    n_out INTEGER,          -- output features of a pruned layer
    n_in INTEGER,           -- input features of a pruned layer
    n_weights BIGINT,       -- weights of the layer or parameter
    is_pruned BOOLEAN,      -- whether it is a layer whose weights variants can remove
    reason VARCHAR,         -- why a parameter stays dense; NULL for layers that can be pruned
    PRIMARY KEY (base_model_id, block, layer)
);
