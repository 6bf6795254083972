-- composed_layers: one row per pruned layer of a composed variant; layers without a row keep all their weights
CREATE OR REPLACE TABLE composed_layers (
    composition_id VARCHAR,  -- -> compositions: the composition
    block INTEGER,           -- block of the layer, from 0
    layer VARCHAR,           -- path of the layer inside its block
    level INTEGER,           -- index of the layer's sparsity in the ordering, from 0
    PRIMARY KEY (composition_id, block, layer)
);
