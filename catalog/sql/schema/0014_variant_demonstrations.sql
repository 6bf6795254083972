-- variant_demonstrations: one row per demonstration set a variant's score read
CREATE TABLE variant_demonstrations (
    variant_id VARCHAR,            -- the variant
    demonstration_set_id VARCHAR,  -- a set its score read
    role VARCHAR,                  -- what the set was used for: demonstrations or contrast
    weight DOUBLE,                 -- weight of the set among those of the same role
    PRIMARY KEY (variant_id, demonstration_set_id, role)
);
