-- Which answers did pruning change?
-- The questions that one of the two models answers right, those with the clearest answer of the dense model first. Named
-- query: `answers_flipped`.
SELECT a.question, a.gold, d.chosen AS dense_choice, a.chosen AS choice, d.margin AS dense_margin, a.margin
FROM item_answers('facts', of_language := 'sw', of_variant := 'wanda sw-en 0.4') AS a
JOIN item_answers('facts', of_language := 'sw', of_variant := 'dense') AS d ON d.example_id = a.example_id
WHERE a.is_right <> d.is_right
ORDER BY d.margin DESC, a.example_id
LIMIT 5;
