-- names: one row per name that a recipe gives to a base model, a demonstration set or a variant, with its id. If one
-- entry of a recipe expands to several sets or variants, meaning distinguishes them: the label and seed of a set, the
-- label of a variant.
-- title: Names
-- anchor: names
-- explanation: Names in recipes, with their meanings and ids. If an entry of a recipe expands to several sets or
-- variants, all of them share its name.
-- empty: The store has no names. Every run of a recipe records its names.
-- column recipe: recipe
-- column kind: kind
-- column name: name
-- column meaning: meaning
-- column id: id
SELECT
    n.recipe, n.kind, n.name,
    CASE n.kind
        WHEN 'demonstration_set' THEN concat_ws(', ', s.label, 'seed ' || s.seed, s.settings)
        WHEN 'variant' THEN v.label
    END AS meaning,
    n.id
FROM names AS n
LEFT JOIN internal.described_sets AS s ON s.demonstration_set_id = n.id
LEFT JOIN described_variants AS v ON v.variant_id = n.id
ORDER BY n.recipe, n.kind, n.name, meaning, n.id;
