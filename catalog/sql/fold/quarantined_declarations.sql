-- quarantined_declarations: one row per recipe and record of it that is damaged or in quarantine, with the number of its
-- declared questions that stay in the family
SELECT record_id, recipe, count(*) AS n_questions
FROM quarantined_questions
GROUP BY record_id, recipe
ORDER BY record_id, recipe;
