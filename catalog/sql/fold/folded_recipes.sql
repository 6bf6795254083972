-- folded_recipes: one row per folded record of a recipe: its id
SELECT id FROM records WHERE kind = 'recipes';
