-- missing_declarations: one row per record of a recipe that a run has written and the store lacks, with the recipe's name
-- and the first such run. Records that are damaged or in quarantine and can be read are left out.
SELECT r.recipe_id, min(r.recipe) AS recipe, min(r.run_id) AS run_id
FROM runs AS r
ANTI JOIN (SELECT id AS recipe_id FROM records WHERE kind = 'recipes') AS k USING (recipe_id)
ANTI JOIN (SELECT record_id AS recipe_id FROM quarantined_questions) AS l USING (recipe_id)
WHERE r.recipe_id IS NOT NULL
GROUP BY r.recipe_id
ORDER BY r.recipe_id;
