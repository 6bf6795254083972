-- foreign_keys: one row per column whose values are keys of rows of another table, or NULL; mlprune check store verifies them
CREATE OR REPLACE TABLE foreign_keys (
    table_name VARCHAR,     -- table with the column
    column_name VARCHAR,    -- the column
    parent_table VARCHAR,   -- table with the keys
    parent_column VARCHAR,  -- column of the keys
    PRIMARY KEY (table_name, column_name)
);
