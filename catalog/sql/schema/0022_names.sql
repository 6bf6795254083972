-- names: one row per name a recipe gives to a thing
CREATE TABLE names (
    recipe VARCHAR,  -- name of the recipe
    kind VARCHAR,    -- base_model, demonstration_set, variant or recipe
    name VARCHAR,    -- what the recipe calls it
    id VARCHAR,      -- id of the thing
    PRIMARY KEY (recipe, kind, name, id)
);
