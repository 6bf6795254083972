-- One row per evaluation of the test half by a variant that the recipe names. The arm is the name of its entry.
SELECT
    e.evaluation_id,
    n.name AS arm,
    s.source_language AS source,
    coalesce(s.seed, v.seed) AS seed,
    coalesce(v.propagation, '') AS propagation,
    e.task,
    e.language,
    e.scoring_rule
FROM names AS n
JOIN variants AS v ON v.variant_id = n.id
JOIN evaluations AS e ON e.variant_id = v.variant_id
LEFT JOIN demonstration_sets AS s ON s.demonstration_set_id = v.demonstration_set_id
WHERE n.recipe = $recipe AND n.kind = 'variant' AND e.split = 'test' AND e.task = $task
    AND e.example_limit IS NOT DISTINCT FROM $example_limit
ORDER BY arm, source, seed, propagation, e.language
