-- variant_demonstrations: one row per demonstration set a variant's score read
CREATE OR REPLACE TABLE variant_demonstrations (
    variant_id VARCHAR,            -- -> variants: the variant
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: a set its score read
    role VARCHAR,                  -- what the set was used for: demonstrations or contrast
    weight DOUBLE,                 -- weight of the set among those of the same role
    PRIMARY KEY (variant_id, demonstration_set_id, role)
);
