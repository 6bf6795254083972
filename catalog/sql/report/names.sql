-- names: one row per name that a recipe gives to a base model, a demonstration set or a variant, with its id.
SELECT recipe, kind, name, id
FROM names
ORDER BY recipe, kind, name, id;
