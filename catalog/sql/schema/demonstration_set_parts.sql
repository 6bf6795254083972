-- demonstration_set_parts: one row per part of a mixed demonstration set
CREATE OR REPLACE TABLE demonstration_set_parts (
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: the mixed set
    part_id VARCHAR,               -- -> demonstration_sets: demonstration set that is part of it
    share DOUBLE,                  -- fraction of the mixture that comes from this part
    PRIMARY KEY (demonstration_set_id, part_id)
);
