-- quarantined_questions: one row per row of the table, in the order of its key
SELECT recipe, question_id, record_id FROM quarantined_questions ORDER BY recipe, question_id, record_id;
