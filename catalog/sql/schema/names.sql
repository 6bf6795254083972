-- names: one row per name that a recipe gives to something
CREATE OR REPLACE TABLE names (
    recipe VARCHAR,  -- name of the recipe
    kind VARCHAR,    -- base_model, demonstration_set, variant, search, sensitivity, recipe, or data_set (of a hub)
    name VARCHAR,    -- name in the recipe; for a data set, with its revision
    id VARCHAR,      -- id of the named thing; for a data set the commit of the revision
    PRIMARY KEY (recipe, kind, name, id)
);
