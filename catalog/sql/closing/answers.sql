-- answers: one row per answer to a declared question of a recipe, as in answers, with the tally of the question and the
-- label of the variant.
-- $recipe VARCHAR
SELECT q.*, a.* EXCLUDE (question_id, margin), t.* EXCLUDE (question_id), v.label, v.sparsity
FROM internal.described_questions AS q
JOIN internal.verdicts AS a ON a.question_id = q.question_id
JOIN internal.question_answers AS t ON t.question_id = q.question_id
LEFT JOIN described_variants AS v ON v.variant_id = a.variant_id
WHERE q.is_declared
    AND (q.recipe = $recipe OR q.question_id IN (SELECT r.question_id FROM recipe_questions AS r WHERE r.recipe = $recipe))
ORDER BY q.claim <> 'gain', q.claim DESC, q.name, q.question_id, a.place;
