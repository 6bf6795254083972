-- variant_demonstrations: one row per variant and demonstration set that its score, choice of neurons, reconstruction, recovery or quantisation read
CREATE OR REPLACE TABLE variant_demonstrations (
    variant_id VARCHAR,            -- -> variants: the variant
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: the demonstration set
    role VARCHAR,                  -- use of the set: calibration (the score reads it), contrast (the contrast score divides by it), english (LRP2 moves states to it), neurons (active neurons are counted in it), reconstruction (blocks are fitted on it), recovery (all weights are optimised on it) or quantisation (GPTQ reads it)
    weight DOUBLE,                 -- weight of the set among the sets of the same role
    PRIMARY KEY (variant_id, demonstration_set_id, role)
);
