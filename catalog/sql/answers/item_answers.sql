-- item_answers: one row per evaluation and item: whether the answer is right, by how much, and what was chosen. The rows
-- are read from the predictions when a query calls it, with the task, and by name the split, language and variant (an id,
-- a label, or dense for the unpruned models). margin is the score of the right candidate minus the best other one, in
-- natural logarithms of probabilities as the scoring rule combines them (mean: per token); it is NULL for generated
-- texts. Several chosen candidates with equal scores are separated by a bar. Of generated texts, chosen is the answer that
-- was read in the text, and right means equal to an accepted one (gold, one per line); of translations it is the text,
-- and right means equal to the reference. output is the whole text, NULL for candidates. cluster
-- is the example's id for items without a cluster. Several categories of an item are one per line. question is the text
-- with the right candidate, NULL if the store does not have the task's items. Evaluations of profile paper, and those that a larger one replaces, are left out.
CREATE OR REPLACE TEMP MACRO item_answers(of_task, of_split := 'test', of_language := NULL, of_variant := NULL) AS TABLE
SELECT
    a.evaluation_id, e.variant_id, v.label, v.is_dense, v.base_model_id, e.task, e.language, e.split, e.scoring_rule,
    e.protocol_id, a.example_id, a.cluster, a.category, a.is_right, a.margin, a.chosen, a.gold, a.question,
    a.output
FROM loaded_answers AS a
JOIN evaluations AS e ON e.evaluation_id = a.evaluation_id
JOIN internal.variant_descriptions AS v ON v.variant_id = e.variant_id
WHERE e.task = of_task AND e.split = of_split
    AND (of_language::VARCHAR IS NULL OR e.language = of_language::VARCHAR)
    AND (
        of_variant::VARCHAR IS NULL OR e.variant_id = of_variant::VARCHAR
        OR e.variant_id IN (SELECT variant_id FROM internal.variant_names WHERE name = of_variant::VARCHAR)
        OR (of_variant::VARCHAR = 'dense' AND v.is_dense)
    );
