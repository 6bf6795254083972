-- names: one row per name a recipe gives to a thing
CREATE OR REPLACE TABLE names (
    recipe VARCHAR,  -- name of the recipe
    kind VARCHAR,    -- base_model, demonstration_set, variant, recipe, or data_set: of a hub
    name VARCHAR,    -- what the recipe calls it; a data set with its revision
    id VARCHAR,      -- id of the thing; of a data set the commit that the revision was
    PRIMARY KEY (recipe, kind, name, id)
);
